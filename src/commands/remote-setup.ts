/** `git kv remote setup`: makes a clone write to the Stargate its policy names. */

import type { Context } from "../cli/context.ts";
import { KvError } from "../errors.ts";
import { redactUrl } from "../gitwire/transport/url.ts";
import { fetchAccepted, fetchMirror, trackingRefspecs } from "../kv/fetch.ts";
import { pinKnownRoot } from "../kv/policy-pin.ts";
import { configureFromPolicy, unconfigureRemote } from "../kv/setup.ts";
import type { Workspace } from "../kv/workspace.ts";
import { openWorkspace } from "./open.ts";

export async function run(context: Context): Promise<void> {
  const workspace = openWorkspace(context);
  const named = context.flags.value("remote");
  if (named !== undefined && named !== workspace.remote) {
    throw new KvError("USAGE", `kv.remote is '${workspace.remote}', not '${named}'`, {
      hint: `git config kv.remote ${named}`,
    });
  }
  if (context.flags.on("undo")) await undo(context, workspace);
  else await setUp(context, workspace);
}

/** Reads the policy, checks the Stargate it names, configures and fetches. Nothing is configured unless the Stargate answers. */
export async function setUp({ out }: Context, workspace: Workspace): Promise<void> {
  const { remote } = workspace;
  const pushUrl = await configureFromPolicy(workspace);
  if (out.json) {
    out.record({ remote, pushurl: redactUrl(pushUrl), fetch: trackingRefspecs(remote) });
  } else {
    out.line(`Configured ${remote}.pushurl → ${redactUrl(pushUrl)}`);
    out.line(`Configured ${remote}.fetch → refs/kv-remotes/${remote}/*`);
  }
  out.flush();
  await fetchMirror(workspace);
  const state = await fetchAccepted(workspace);
  out.note(
    state === undefined
      ? `namespace '${workspace.ns}' has no transaction yet`
      : `namespace '${workspace.ns}' is at seq ${state.ledger.seq}`,
  );
  pin(out, workspace);
}

/** From here on this clone knows whose signatures count, and notices when that is exchanged. */
function pin(out: Context["out"], workspace: Workspace): void {
  const pinned = pinKnownRoot(workspace);
  if (pinned.kind === "pinned now") {
    out.note(`kv.policyRoot is now ${pinned.root}: compare it with what the administrators say it is`);
  } else if (pinned.kind === "changed") {
    out.warn(`THE ROOT OF TRUST HAS CHANGED: the first policy is ${pinned.root}, kv.policyRoot is ${pinned.pinned}`);
  }
}

async function undo({ out }: Context, workspace: Workspace): Promise<void> {
  await unconfigureRemote(workspace);
  if (out.json) out.record({ remote: workspace.remote, undone: true });
  else out.line(`Removed ${workspace.remote}.pushurl and the kv refspecs of ${workspace.remote}.fetch`);
}
