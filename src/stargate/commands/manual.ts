/** What the manual page of git-kv-stargate says besides its commands. */

import type { Manual } from "../../cli/command.ts";

export const MANUAL: Manual = {
  environment: [
    ["SSH_ORIGINAL_COMMAND", "The command of a client, set by sshd for ssh-shell"],
    ["GIT_PROTOCOL", "The version of git's protocol that a client asked for"],
    ["NOTIFY_SOCKET, WATCHDOG_USEC, LISTEN_FDS, CREDENTIALS_DIRECTORY", "What systemd tells a service"],
    ["NO_COLOR", "No colours, whatever its value"],
    ["GIT_KV_TRACE", "1 traces what happens to standard error, an absolute path to the end of that file"],
  ],
};
