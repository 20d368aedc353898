/** How this program names itself to other gits. */

import { version } from "../package.json";

export const AGENT = `git-kv/${version}`;
