// jsdom with the browser's parts that it lacks and Node has.
const JSDOM = require('jest-environment-jsdom').TestEnvironment;

module.exports = class extends JSDOM {
  async setup() {
    await super.setup();
    Object.assign(this.global, { fetch, Headers, Request, Response, structuredClone, TextDecoder, TextEncoder });
  }
};
