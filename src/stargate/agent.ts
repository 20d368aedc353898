/** What we call ourselves to git clients and servers. */

import { version } from "../../package.json";

export const AGENT = `git-kv-stargate/${version}`;
