/** What the manual page of git-kv says besides its commands. */

import type { Manual } from "../cli/command.ts";

export const MANUAL: Manual = {
  configuration: [
    ["kv.namespace", "The namespace where --ns does not say (default: main)"],
    ["kv.remote", "The remote that reads and writes go to (default: origin)"],
    ["kv.readFrom", "Which copy reads take where --read-from does not say: local, mirror or stargate (default: local)"],
    [
      "kv.autoFetch",
      "Whether reads of this clone ask the mirror first: true, or a duration (30s) that may pass between two looks (default: false)",
    ],
    ["kv.sign", "Whether transactions are signed: true, or false to write unsigned where the policy lets that in"],
    ["kv.policyRoot", "The policy commit that this clone trusts; set on first use"],
    ["user.name, user.email, user.signingKey, commit.gpgSign, gpg.*", "Who writes and with which key, as in git"],
    ["http.*, credential.*, core.sshCommand, core.askPass, url.*.insteadOf", "How remotes are reached, as in git"],
    ["remote.<name>.url, remote.<name>.pushurl", "Where reads come from, and the Stargate that writes go to"],
  ],
  environment: [
    ["GIT_DIR, GIT_SSH_COMMAND, GIT_ASKPASS, GIT_CONFIG_*, GIT_AUTHOR_*, GIT_COMMITTER_*", "As in git"],
    ["SSH_AUTH_SOCK", "The agent that holds the keys to sign with"],
    ["NO_COLOR", "No colours, whatever its value"],
    ["GIT_KV_TRACE", "1 traces what happens to standard error, an absolute path to the end of that file"],
    ["GIT_KV_TRACE_PACKET", "The same for the packets of git's protocol alone"],
  ],
};
