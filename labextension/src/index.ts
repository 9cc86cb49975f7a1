// The plugins of the extension.

import { launcherPlugin } from './launcher';
import { queuePlugin } from './queue/plugin';

export default [launcherPlugin, queuePlugin];
