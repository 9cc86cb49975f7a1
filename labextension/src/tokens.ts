// The names that other modules and extensions refer to. What goes over the wire is in wire.ts, made from schema/.

/** The ids of our plugins begin with this. */
export const NAMESPACE = 'flatirons';

/** Commands of the palette and the menus. */
export namespace CommandIDs {
  export const openQueue = 'flatirons:open-queue';
  export const testScript = 'flatirons:test-script';
}
