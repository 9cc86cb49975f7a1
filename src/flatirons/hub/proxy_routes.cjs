"use strict";
// The routes of configurable-http-proxy where internal TLS is on: its --storage-backend.
//
// A route to a notebook server has a target such as https://NAME:4321, where NAME is in the certificate of that
// server alone, and the host that it stands for in `flatirons_host`. The proxy connects to that host and accepts
// only a certificate for NAME. So another server's valid certificate doesn't do, although it may be for the same
// node and port: a neighbour can take the port of a server that has ended.
//
// Without this, the proxy would compare certificates with the Host header of each request (node's https does, and
// a browser sends the public name there), which fits only where people use an address instead of a name.

const dns = require("node:dns");

const clean = (path) => "/" + path.split("/").filter(Boolean).join("/");

class Routes {
  // `options` are the proxy's; it passes the same object on to http-proxy, which takes from its `ssl` what it
  // connects with. The proxy has a copy for its own side, and looks at this once more in its first log line.
  constructor(options) {
    this.routes = new Map();
    this.hosts = new Map(); // the host that a name of a certificate stands for
    const lookup = (name, how, done) => dns.lookup(this.hosts.get(name) || name, how, done);
    queueMicrotask(() => {
      // servername: "" keeps the Host header out of it
      Object.defineProperty(options, "ssl", { enumerable: true, get: () => ({ servername: "", lookup }) });
    });
  }

  async get(path) {
    return this.routes.get(clean(path));
  }

  async getAll() {
    return Object.fromEntries(this.routes);
  }

  async getTarget(path) {
    for (let prefix = clean(path); ; prefix = clean(prefix.slice(0, prefix.lastIndexOf("/")))) {
      if (this.routes.has(prefix)) return { prefix, data: this.routes.get(prefix) };
      if (prefix === "/") return undefined;
    }
  }

  async add(path, data) {
    await this.remove(path);
    this.routes.set(clean(path), data);
    if (data.flatirons_host) this.hosts.set(new URL(data.target).hostname, data.flatirons_host);
  }

  async update(path, data) {
    Object.assign(this.routes.get(clean(path)), data);
  }

  async remove(path) {
    const route = this.routes.get(clean(path));
    if (!route) return undefined;
    this.routes.delete(clean(path));
    this.hosts.delete(new URL(route.target).hostname);
    return route;
  }

  cleanPath(path) {
    return clean(path);
  }
}

module.exports = Routes;
