"""The measuring client: requests servers from a hub, and its health at the same time. Runs on the hub node.

It sends one request for each server, and none while the server starts. The hub answers when the server is
ready, because the benchmark's hubs have a `slow_spawn_timeout` longer than any start. The client uses the
standard library only. It reads its task as JSON from stdin and prints its observations as JSON; times are
seconds since the machine's boot.
"""

import asyncio
import json
import random
import sys
import time


def now():
    """Seconds since the machine's boot, the same on all virtual nodes."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


async def send(at, method, path, token="", body=None, deadline_s=600):
    """(status, text) of the answer from HOST:PORT; status 0 if there was no answer."""
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


async def spawn_one(task, name):
    """Starts one server; returns when it was requested and when the answer came."""
    began = now()
    path = f"/hub/api/users/{name}/server"
    code, text = await send(task["hub"], "POST", path, task["token"], task["options"], task["deadline_s"])
    return {"name": name, "requested": began, "ready": now(), "status": code, "text": text[:500]}


async def watch_health(task, spans, over):
    """Requests /hub/health at a steady rate until it is over; no request waits for the one before."""

    async def once():
        began = now()
        code, _ = await send(task["hub"], "GET", "/hub/health", deadline_s=60)
        spans.append([began, now() - began, code])

    requests = []
    next_at = now()
    while not over.is_set():
        requests.append(asyncio.ensure_future(once()))
        next_at += 1 / task["health_hz"]
        await asyncio.sleep(max(0.0, next_at - now()))
    await asyncio.gather(*requests)


async def with_health(task, work):
    """(result of the work, spans of the requests for the hub's health during the work)."""
    spans, over = [], asyncio.Event()
    watching = asyncio.ensure_future(watch_health(task, spans, over)) if task["health_hz"] else None
    result = await work
    over.set()
    if watching:
        await watching
    return result, spans


async def spawn(task):
    """Starts servers: all at once, or one after the other.

    Pauses of random length put the starts at different points of Slurm's scheduling cycle.
    """

    async def one_by_one():
        spawns = []
        for name in task["names"]:
            await asyncio.sleep(random.uniform(*task["pause_s"]))
            spawns.append(await spawn_one(task, name))
        return spawns

    async def at_once():
        return await asyncio.gather(*(spawn_one(task, name) for name in task["names"]))

    spawns, health = await with_health(task, at_once() if task["at_once"] else one_by_one())
    return {"spawns": spawns, "health": health}


async def requests(task):
    """Sends a request for each user's own record, all at once, and requests for the hub's health."""

    async def once(name):
        began = now()
        code, _ = await send(task["hub"], "GET", f"/hub/api/users/{name}", task["token"])
        return now() - began, code

    answers, health = await with_health(task, asyncio.gather(*map(once, task["names"])))
    return {"answers": answers, "health": health}


async def began(task):
    """When the script of each server's job began, as its stub answers; None if there is no answer."""
    found = {}
    for name in task["names"]:
        code, text = await send(task["proxy"], "GET", f"/user/{name}/api", deadline_s=30)
        found[name] = json.loads(text)["began"] if code == 200 else None
    return found


async def users(task):
    """Adds the users to the hub."""
    for i in range(0, len(task["names"]), 100):
        names = {"usernames": task["names"][i : i + 100]}
        code, text = await send(task["hub"], "POST", "/hub/api/users", task["token"], names)
        if code != 201:
            sys.exit(f"the hub answered {code} to new users: {text[:300]}")
    return {}


async def metrics(task):
    """The hub's metrics, in Prometheus' format."""
    code, text = await send(task["hub"], "GET", "/hub/metrics", task["token"])
    if code != 200:
        sys.exit(f"the hub answered {code} to a request for its metrics")
    return {"text": text}


async def read_port(reader, writer):
    """HOST:PORT of a stub: the sender of this request, and the port that it posts."""
    head = await reader.readuntil(b"\r\n\r\n")
    sizes = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    body = await reader.readexactly(int(sizes[0].split(b":")[1]))
    host = writer.get_extra_info("peername")[0]
    writer.write(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    writer.close()
    return f"{host}:{json.loads(body)['port']}"


async def listen(task):
    """Runs a command that submits jobs, and sends a request to each job's stub once it posts its port."""
    up, done = [], asyncio.Event()

    async def take(reader, writer):
        code, answer = await send(await read_port(reader, writer), "GET", "/api")
        if code == 200:
            up.append([now(), json.loads(answer)["began"]])
        if len(up) == task["count"]:
            done.set()

    server = await asyncio.start_server(take, "0.0.0.0", task["port"], backlog=1024)
    began_at = now()
    shell = await asyncio.create_subprocess_exec(*task["command"])
    async with asyncio.timeout(task["deadline_s"]):
        await shell.wait()
        submitted = now()
        await done.wait()
    server.close()
    return {"began": began_at, "submitted": submitted, "up": up}


TASKS = {task.__name__: task for task in (spawn, requests, began, users, metrics, listen)}


async def main():
    """Does one task."""
    task = json.load(sys.stdin)
    print(json.dumps(await TASKS[task["task"]](task)))


asyncio.run(main())
