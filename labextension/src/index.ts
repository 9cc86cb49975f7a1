// The plugins of the extension.

import { queuePlugin } from './queue/plugin';

export default [queuePlugin];
