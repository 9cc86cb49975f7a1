"""The measuring client: asks a hub for servers, and looks at its health meanwhile. Runs in the hub node.

One request for each server and none while it starts: the hub answers it when the server is ready, since the
benchmark's hubs have a `slow_spawn_timeout` longer than any start. Standard library. Reads what to do as JSON
from stdin, prints what it saw as JSON: seconds since the machine's boot.
"""

import asyncio
import json
import random
import sys
import time


def now():
    """Seconds since the machine's boot, the same on all virtual nodes."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


async def ask(at, method, path, token="", body=None, deadline_s=600):
    """(status, text) of a request to HOST:PORT; status 0 when there was no answer."""
    host, _, port = at.partition(":")
    payload = b"" if body is None else json.dumps(body).encode()
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\nContent-Length: {len(payload)}\r\n"
    )
    head += f"Authorization: token {token}\r\n" if token else ""
    head += "Content-Type: application/json\r\n\r\n"
    try:
        async with asyncio.timeout(deadline_s):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(head.encode() + payload)
            answer = await reader.read()
            writer.close()
    except (OSError, TimeoutError) as error:
        return 0, repr(error)
    head, _, text = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), text.decode(errors="replace")


async def spawn(job, name):
    """One server, from the request to the answer."""
    began = now()
    path = f"/hub/api/users/{name}/server"
    code, text = await ask(job["hub"], "POST", path, job["token"], job["options"], job["deadline_s"])
    return {"name": name, "asked": began, "ready": now(), "status": code, "text": text[:500]}


async def health(job, seen, over):
    """Asks /hub/health so many times a second, whether or not the last one was answered."""

    async def once():
        began = now()
        code, _ = await ask(job["hub"], "GET", "/hub/health", deadline_s=60)
        seen.append([began, now() - began, code])

    asked = []
    next_at = now()
    while not over.is_set():
        asked.append(asyncio.ensure_future(once()))
        next_at += 1 / job["health_hz"]
        await asyncio.sleep(max(0.0, next_at - now()))
    await asyncio.gather(*asked)


async def do_spawn(job):
    """All at once; or one after the other, each after a pause, so that no two meet Slurm's clock alike."""
    seen, over = [], asyncio.Event()
    looking = asyncio.ensure_future(health(job, seen, over)) if job["health_hz"] else None
    spawns = []
    if job["at_once"]:
        spawns = await asyncio.gather(*(spawn(job, name) for name in job["names"]))
    else:
        for name in job["names"]:
            await asyncio.sleep(random.uniform(*job["pause_s"]))
            spawns.append(await spawn(job, name))
    over.set()
    if looking:
        await looking
    return {"spawns": spawns, "health": seen}


async def do_requests(job):
    """Everybody asks at once who they are; the hub's health is looked at meanwhile."""
    seen, over = [], asyncio.Event()
    looking = asyncio.ensure_future(health(job, seen, over))

    async def once(name):
        began = now()
        code, _ = await ask(job["hub"], "GET", f"/hub/api/users/{name}", job["token"])
        return now() - began, code

    answers = await asyncio.gather(*map(once, job["names"]))
    over.set()
    await looking
    return {"answers": answers, "health": seen}


async def do_began(job):
    """When the script of each server's job began, as the stubs say, through the proxy."""
    found = {}
    for name in job["names"]:
        code, text = await ask(job["proxy"], "GET", f"/user/{name}/api", deadline_s=30)
        found[name] = json.loads(text)["began"] if code == 200 else None
    return found


async def do_users(job):
    """Makes the people known to the hub."""
    for i in range(0, len(job["names"]), 100):
        names = {"usernames": job["names"][i : i + 100]}
        code, text = await ask(job["hub"], "POST", "/hub/api/users", job["token"], names)
        if code != 201:
            sys.exit(f"the hub answered {code} to new users: {text[:300]}")
    return {}


async def do_metrics(job):
    """What the hub tells Prometheus."""
    code, text = await ask(job["hub"], "GET", "/hub/metrics", job["token"])
    if code != 200:
        sys.exit(f"the hub answered {code} when asked for its metrics")
    return {"text": text}


async def do_listen(job):
    """Takes the ports that stubs of Slurm jobs without a hub post, asks each stub once, as a hub would."""
    up, done = [], asyncio.Event()

    async def take(reader, writer):
        text = await reader.readuntil(b"\r\n\r\n")
        sizes = [line for line in text.split(b"\r\n") if line.lower().startswith(b"content-length:")]
        body = await reader.readexactly(int(sizes[0].split(b":")[1]))
        host = writer.get_extra_info("peername")[0]
        writer.write(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()
        code, answer = await ask(f"{host}:{json.loads(body)['port']}", "GET", "/api")
        if code == 200:
            up.append([now(), json.loads(answer)["began"]])
        if len(up) == job["count"]:
            done.set()

    server = await asyncio.start_server(take, "0.0.0.0", job["port"], backlog=1024)
    began = now()
    shell = await asyncio.create_subprocess_exec(*job["command"])
    async with asyncio.timeout(job["deadline_s"]):
        await shell.wait()
        submitted = now()
        await done.wait()
    server.close()
    return {"began": began, "submitted": submitted, "up": up}


async def main():
    """Does one job."""
    job = json.load(sys.stdin)
    print(json.dumps(await globals()[f"do_{job['do']}"](job)))


asyncio.run(main())
