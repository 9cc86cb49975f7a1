BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('f460b0348206');
CREATE TABLE api_tokens (
	user_id INTEGER, 
	service_id INTEGER, 
	id INTEGER NOT NULL, 
	hashed VARCHAR(255), 
	prefix VARCHAR(16), 
	client_id VARCHAR(255), 
	session_id VARCHAR(255), 
	created DATETIME, 
	expires_at DATETIME, 
	last_activity DATETIME, 
	note VARCHAR(1023), 
	scopes TEXT, 
	CONSTRAINT pk_api_tokens PRIMARY KEY (id), 
	CONSTRAINT fk_api_tokens_user_id_users FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE, 
	CONSTRAINT fk_api_tokens_service_id_services FOREIGN KEY(service_id) REFERENCES services (id) ON DELETE CASCADE, 
	CONSTRAINT uq_api_tokens_hashed UNIQUE (hashed), 
	CONSTRAINT fk_api_tokens_client_id_oauth_clients FOREIGN KEY(client_id) REFERENCES oauth_clients (identifier) ON DELETE CASCADE
);
INSERT INTO "api_tokens" VALUES(2,NULL,1,'sha512:1:f213f719cf3cf70f:33356e2f6885b1e396a91866223a96010e29b4e7229abe645288c591fcf3d867024bcc611e2ea40c363ef4c19e6b7a067016138b5d900043163112ddb88e06e4','7538','jupyterhub',NULL,'2026-11-29 11:31:50.532962',NULL,NULL,'Server at /user/alice/','["users:activity!user", "access:servers!server=alice/"]');
INSERT INTO "api_tokens" VALUES(2,NULL,2,'sha512:1:6d89e6ba403679ed:9e544802bab1556eec44d9d6fa20a58b6f5a586809f680b0a6eac68fe0fda9bab42508f177140ad348cfaeb35421bfb1d50c0dcb1ae35b3bc7b5b2e2eaef284e','7650','jupyterhub',NULL,'2026-11-29 11:31:52.752561',NULL,NULL,'Server at /user/alice/second/','["users:activity!user", "access:servers!server=alice/second"]');
INSERT INTO "api_tokens" VALUES(3,NULL,3,'sha512:1:84758e1aea1a390a:cc8cb4b7b7763fbcb619c73e9e39255dc00424d002f1c97eb3d86c941bd1ab8c13d08f437ef08e09a2006864db086bd56314769ef25139020cd89621966b61e5','3530','jupyterhub',NULL,'2026-11-29 11:31:57.973419',NULL,NULL,'Server at /user/bob/other/','["users:activity!user", "access:servers!server=bob/other"]');
CREATE TABLE group_role_map (
	group_id INTEGER NOT NULL, 
	role_id INTEGER NOT NULL, 
	managed_by_auth BOOLEAN NOT NULL, 
	CONSTRAINT pk_group_role_map PRIMARY KEY (group_id, role_id), 
	CONSTRAINT fk_group_role_map_group_id_groups FOREIGN KEY(group_id) REFERENCES groups (id) ON DELETE CASCADE, 
	CONSTRAINT fk_group_role_map_role_id_roles FOREIGN KEY(role_id) REFERENCES roles (id) ON DELETE CASCADE
);
CREATE TABLE groups (
	id INTEGER NOT NULL, 
	name VARCHAR(255), 
	properties TEXT, 
	CONSTRAINT pk_groups PRIMARY KEY (id), 
	CONSTRAINT uq_groups_name UNIQUE (name)
);
CREATE TABLE oauth_clients (
	id INTEGER NOT NULL, 
	identifier VARCHAR(255), 
	description VARCHAR(1023), 
	secret VARCHAR(255), 
	redirect_uri VARCHAR(1023), 
	allowed_scopes TEXT, 
	CONSTRAINT pk_oauth_clients PRIMARY KEY (id), 
	CONSTRAINT uq_oauth_clients_identifier UNIQUE (identifier)
);
INSERT INTO "oauth_clients" VALUES(1,'jupyterhub','JupyterHub','','','[]');
INSERT INTO "oauth_clients" VALUES(2,'jupyterhub-user-alice','Server at /user/alice/','sha512:16384:ffe0c9404f9cec78:a9db7425dcfa9ca6695bf018be1c4b085ef3527a7e3a7abbd5ee23c6e96f9e7a45029d0c6fac189337d37db2129e236884b058bd8aaa09ba8922c42acb4cad96','/user/alice/oauth_callback','["access:servers!server=alice/"]');
INSERT INTO "oauth_clients" VALUES(3,'jupyterhub-user-alice-second','Server at /user/alice/second/','sha512:16384:f151857f8e58de75:6cd09e0f18f714641c35cf12e744d437e7ae9763f1f1e4a8542be5e19550731b2d4adea3668d09695686bfff2b7ccab01336d3bf3dbe9fcd7815a91e86341e50','/user/alice/second/oauth_callback','["access:servers!server=alice/second"]');
INSERT INTO "oauth_clients" VALUES(4,'jupyterhub-user-bob-other','Server at /user/bob/other/','sha512:16384:727dc55c367f7efe:9cc0ddb32afe0460d40c039b557631a45e045253eee1059dc054d212711554f27102ff46655ee818556971b8caaf98c31047d5fc01ab66d5ba393258ead9d829','/user/bob/other/oauth_callback','["access:servers!server=bob/other"]');
CREATE TABLE oauth_codes (
	id INTEGER NOT NULL, 
	client_id VARCHAR(255), 
	code VARCHAR(36), 
	expires_at INTEGER, 
	redirect_uri VARCHAR(1023), 
	session_id VARCHAR(255), 
	user_id INTEGER, 
	scopes TEXT, 
	code_challenge VARCHAR(255), 
	code_challenge_method VARCHAR(64), 
	CONSTRAINT pk_oauth_codes PRIMARY KEY (id), 
	CONSTRAINT fk_oauth_codes_client_id_oauth_clients FOREIGN KEY(client_id) REFERENCES oauth_clients (identifier) ON DELETE CASCADE, 
	CONSTRAINT fk_oauth_codes_user_id_users FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE
);
CREATE TABLE roles (
	id INTEGER NOT NULL, 
	name VARCHAR(255), 
	description VARCHAR(1023), 
	scopes TEXT, 
	managed_by_auth BOOLEAN NOT NULL, 
	CONSTRAINT pk_roles PRIMARY KEY (id), 
	CONSTRAINT uq_roles_name UNIQUE (name)
);
INSERT INTO "roles" VALUES(1,'user','Standard user privileges','["self"]',0);
INSERT INTO "roles" VALUES(2,'admin','Elevated privileges (can do anything)','["admin-ui", "admin:users", "admin:servers", "admin:services", "tokens", "admin:groups", "list:services", "read:services", "read:hub", "proxy", "shutdown", "access:services", "access:servers", "read:roles", "read:metrics", "shares"]',0);
INSERT INTO "roles" VALUES(3,'server','Post activity only','["users:activity!user", "access:servers!server"]',0);
INSERT INTO "roles" VALUES(4,'token','Token with same permissions as its owner','["inherit"]',0);
CREATE TABLE servers (
	id INTEGER NOT NULL, 
	proto VARCHAR(15), 
	ip VARCHAR(255), 
	port INTEGER, 
	base_url VARCHAR(255), 
	cookie_name VARCHAR(255), 
	CONSTRAINT pk_servers PRIMARY KEY (id)
);
INSERT INTO "servers" VALUES(1,'http','localhost',43210,'/user/alice/','cookie');
INSERT INTO "servers" VALUES(2,'http','',59613,'/user/alice/second/','cookie');
INSERT INTO "servers" VALUES(3,'http','localhost',43210,'/user/bob/other/','cookie');
CREATE TABLE service_role_map (
	service_id INTEGER NOT NULL, 
	role_id INTEGER NOT NULL, 
	managed_by_auth BOOLEAN NOT NULL, 
	CONSTRAINT pk_service_role_map PRIMARY KEY (service_id, role_id), 
	CONSTRAINT fk_service_role_map_service_id_services FOREIGN KEY(service_id) REFERENCES services (id) ON DELETE CASCADE, 
	CONSTRAINT fk_service_role_map_role_id_roles FOREIGN KEY(role_id) REFERENCES roles (id) ON DELETE CASCADE
);
CREATE TABLE services (
	id INTEGER NOT NULL, 
	name VARCHAR(255), 
	admin BOOLEAN, 
	url VARCHAR(2047), 
	oauth_client_allowed_scopes TEXT, 
	info TEXT, 
	display BOOLEAN, 
	oauth_no_confirm BOOLEAN, 
	command TEXT, 
	cwd VARCHAR(4095), 
	environment TEXT, 
	user VARCHAR(255), 
	timeout INTEGER NOT NULL, 
	from_config BOOLEAN, 
	_server_id INTEGER, 
	pid INTEGER, 
	oauth_client_id VARCHAR(255), 
	CONSTRAINT pk_services PRIMARY KEY (id), 
	CONSTRAINT uq_services_name UNIQUE (name), 
	CONSTRAINT fk_services__server_id_servers FOREIGN KEY(_server_id) REFERENCES servers (id) ON DELETE SET NULL, 
	CONSTRAINT fk_services_oauth_client_id_oauth_clients FOREIGN KEY(oauth_client_id) REFERENCES oauth_clients (identifier) ON DELETE SET NULL
);
CREATE TABLE share_codes (
	hashed VARCHAR(255), 
	prefix VARCHAR(16), 
	exchange_count INTEGER, 
	last_exchanged_at DATETIME, 
	id INTEGER NOT NULL, 
	created_at DATETIME NOT NULL, 
	scopes TEXT, 
	expires_at DATETIME, 
	owner_id INTEGER, 
	spawner_id INTEGER, 
	CONSTRAINT pk_share_codes PRIMARY KEY (id), 
	CONSTRAINT uq_share_codes_hashed UNIQUE (hashed), 
	CONSTRAINT fk_share_codes_owner_id_users FOREIGN KEY(owner_id) REFERENCES users (id) ON DELETE CASCADE, 
	CONSTRAINT fk_share_codes_spawner_id_spawners FOREIGN KEY(spawner_id) REFERENCES spawners (id) ON DELETE CASCADE
);
CREATE TABLE shares (
	user_id INTEGER, 
	group_id INTEGER, 
	id INTEGER NOT NULL, 
	created_at DATETIME NOT NULL, 
	scopes TEXT, 
	expires_at DATETIME, 
	owner_id INTEGER, 
	spawner_id INTEGER, 
	CONSTRAINT pk_shares PRIMARY KEY (id), 
	CONSTRAINT fk_shares_user_id_users FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE, 
	CONSTRAINT fk_shares_group_id_groups FOREIGN KEY(group_id) REFERENCES groups (id) ON DELETE CASCADE, 
	CONSTRAINT fk_shares_owner_id_users FOREIGN KEY(owner_id) REFERENCES users (id) ON DELETE CASCADE, 
	CONSTRAINT fk_shares_spawner_id_spawners FOREIGN KEY(spawner_id) REFERENCES spawners (id) ON DELETE CASCADE
);
CREATE TABLE spawners (
	id INTEGER NOT NULL, 
	user_id INTEGER, 
	server_id INTEGER, 
	state TEXT, 
	name VARCHAR(255), 
	display_name VARCHAR(255), 
	started DATETIME, 
	last_activity DATETIME, 
	user_options TEXT, 
	oauth_client_id VARCHAR(255), 
	CONSTRAINT pk_spawners PRIMARY KEY (id), 
	CONSTRAINT fk_spawners_user_id_users FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE, 
	CONSTRAINT fk_spawners_server_id_servers FOREIGN KEY(server_id) REFERENCES servers (id) ON DELETE SET NULL, 
	CONSTRAINT fk_spawners_oauth_client_id_oauth_clients FOREIGN KEY(oauth_client_id) REFERENCES oauth_clients (identifier) ON DELETE SET NULL
);
INSERT INTO "spawners" VALUES(1,2,1,'{"cluster": "summit", "spawn_id": "6728af5801dd4f7b", "code_digest": "229b46a91df7d7f0b3375412c89b718f782f105e7911226e052138d216b0e77f", "job_id": 1, "key_digest": "31c1e6d1c7e71f64e10dd55818b6a46f929aa33633b1fb73ad5daca769c4b9e8", "host": "localhost", "port": 43210, "stopping": false}','','','2026-11-29 11:31:50.614288','2026-11-29 11:31:50.614288','{"environment": "python", "cluster": "summit", "partition": "shas", "account": "ucb-general", "cpus": "2", "memory": "4G", "runtime": "2:00:00", "threads": "4"}','jupyterhub-user-alice');
INSERT INTO "spawners" VALUES(2,2,2,'{"cluster": "summit", "spawn_id": "0ec8124e5ee9a0f6", "code_digest": "03628b4378f13eb5f132ff74d2df246a325e40c962ddf35a8c0d04e46c80589b", "job_id": 2, "key_digest": "", "host": "", "port": 0, "stopping": false}','second','second','2026-11-29 11:31:52.791010','2026-11-29 11:31:52.791010','{"environment": "python", "cluster": "summit", "partition": "shas", "account": "ucb-general", "cpus": "2", "memory": "4G", "runtime": "2:00:00", "threads": "4"}','jupyterhub-user-alice-second');
INSERT INTO "spawners" VALUES(3,3,NULL,'{"reports": [{"kind": "out_of_memory", "sentence": "The job ran out of memory and was killed. It had asked for 4096 MiB. Slurm last saw it use 4004 MiB.", "advice": "Ask for more memory.", "cluster": "summit", "job_id": 3, "node": "localhost", "ended_at": 1795951916.2531223, "was_up": false, "waited_seconds": 0.0, "ran_seconds": 61, "runtime_limit_minutes": 120, "requested_memory_mib": 4096, "used_memory_mib": 4004, "cpus": 1, "cpu_seconds": 0.5, "exit_code": 0, "signal": 125, "options": {"environment": "python", "cluster": "summit", "partition": "shas", "account": "ucb-general", "cpus": "2", "memory": "4G", "runtime": "2:00:00", "threads": "4", "licence": "none"}, "fix": {"memory": "8G"}, "log": ["ModuleNotFoundError: No module named ''jupyterlab''", "<b>last line</b>"]}]}','','',NULL,'2026-11-29 11:31:57.767438','{"environment": "python", "cluster": "summit", "partition": "shas", "account": "ucb-general", "cpus": "2", "memory": "4G", "runtime": "2:00:00", "threads": "4"}',NULL);
INSERT INTO "spawners" VALUES(4,3,3,'{"reports": [{"kind": "time_limit", "sentence": "The job reached its time limit of 2 h 0 min.", "advice": "Ask for more time.", "cluster": "summit", "job_id": 4, "node": "localhost", "ended_at": 1795951924.847075, "was_up": true, "waited_seconds": 0.0, "ran_seconds": 0, "runtime_limit_minutes": 120, "requested_memory_mib": 4096, "used_memory_mib": null, "cpus": 1, "cpu_seconds": 0.5, "exit_code": 0, "signal": null, "options": {"environment": "python", "cluster": "summit", "partition": "shas", "account": "ucb-general", "cpus": "2", "memory": "4G", "runtime": "2:00:00", "threads": "4", "licence": "none"}, "fix": {"runtime": "4:00:00"}, "log": []}], "cluster": "summit", "spawn_id": "8857cf335f3cbe0e", "code_digest": "fac67160dd0ca6c087aea641ed40341d147c6cfebca13f1a102f69dafdd99171", "job_id": 4, "key_digest": "31c1e6d1c7e71f64e10dd55818b6a46f929aa33633b1fb73ad5daca769c4b9e8", "host": "localhost", "port": 43210, "stopping": false}','other','other','2026-11-29 11:31:58.029112','2026-11-29 11:31:58.029112','{"environment": "python", "cluster": "summit", "partition": "shas", "account": "ucb-general", "cpus": "2", "memory": "4G", "runtime": "2:00:00", "threads": "4"}','jupyterhub-user-bob-other');
CREATE TABLE user_group_map (
	user_id INTEGER NOT NULL, 
	group_id INTEGER NOT NULL, 
	CONSTRAINT pk_user_group_map PRIMARY KEY (user_id, group_id), 
	CONSTRAINT fk_user_group_map_user_id_users FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE, 
	CONSTRAINT fk_user_group_map_group_id_groups FOREIGN KEY(group_id) REFERENCES groups (id) ON DELETE CASCADE
);
CREATE TABLE user_role_map (
	user_id INTEGER NOT NULL, 
	role_id INTEGER NOT NULL, 
	managed_by_auth BOOLEAN NOT NULL, 
	CONSTRAINT pk_user_role_map PRIMARY KEY (user_id, role_id), 
	CONSTRAINT fk_user_role_map_user_id_users FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE, 
	CONSTRAINT fk_user_role_map_role_id_roles FOREIGN KEY(role_id) REFERENCES roles (id) ON DELETE CASCADE
);
INSERT INTO "user_role_map" VALUES(1,2,0);
INSERT INTO "user_role_map" VALUES(1,1,0);
INSERT INTO "user_role_map" VALUES(2,1,0);
INSERT INTO "user_role_map" VALUES(3,1,0);
CREATE TABLE users (
	id INTEGER NOT NULL, 
	name VARCHAR(255), 
	user_info TEXT, 
	admin BOOLEAN, 
	created DATETIME, 
	last_activity DATETIME, 
	cookie_id VARCHAR(255) NOT NULL, 
	state TEXT, 
	encrypted_auth_state BLOB, 
	CONSTRAINT pk_users PRIMARY KEY (id), 
	CONSTRAINT uq_users_name UNIQUE (name), 
	CONSTRAINT uq_users_cookie_id UNIQUE (cookie_id)
);
INSERT INTO "users" VALUES(1,'ada',NULL,1,'2026-11-29 11:31:50.062147',NULL,'bb2d3e53a5844049a5bd94d5baeeb0ae',NULL,NULL);
INSERT INTO "users" VALUES(2,'alice',NULL,0,'2026-11-29 11:31:50.098027','2026-11-29 11:31:52.791010','a1974e38a09041be8b731ed3adafbb39','{}',NULL);
INSERT INTO "users" VALUES(3,'bob',NULL,0,'2026-11-29 11:31:50.098855','2026-11-29 11:31:58.029112','5755adbc37e743858a1e3b634f830c00','{}',NULL);
CREATE INDEX ix_share_codes_prefix ON share_codes (prefix);
CREATE INDEX ix_api_tokens_prefix ON api_tokens (prefix);
COMMIT;
