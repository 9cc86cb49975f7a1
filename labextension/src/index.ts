// The plugins of the extension.

import { scriptPlugin } from './composer/plugin';
import { launcherPlugin } from './launcher';
import { queuePlugin } from './queue/plugin';

export default [launcherPlugin, queuePlugin, scriptPlugin];
