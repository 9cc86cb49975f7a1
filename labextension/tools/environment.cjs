// jsdom with the browser's parts that it lacks: those that Node has, and the names that JupyterLab's modules refer to.
const JSDOM = require('jest-environment-jsdom').TestEnvironment;

module.exports = class extends JSDOM {
  async setup() {
    await super.setup();
    this.global.DragEvent = class extends this.global.MouseEvent {};
    this.global.matchMedia = media => ({ media, matches: false, addEventListener() {}, removeEventListener() {}, addListener() {} });
    Object.assign(this.global, { fetch, Headers, Request, Response, structuredClone, TextDecoder, TextEncoder });
  }
};
