/** `git kv remote setup`: makes a clone write to the Stargate its policy names. */

import type { Context } from "../cli/context.ts";
import { KvError, toKvError } from "../errors.ts";
import { isSameRepository, redactUrl } from "../gitwire/transport/url.ts";
import { fetchAccepted, fetchMirror, trackingRefspecs } from "../kv/fetch.ts";
import { pinKnownRoot } from "../kv/policy-pin.ts";
import { fetchUrl } from "../kv/remote-session.ts";
import { checkStargate, configureRemote, findPolicy, unconfigureRemote } from "../kv/setup.ts";
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
  const policy = await findPolicy(workspace);
  if (policy.pushUrl === undefined) {
    throw new KvError("CONFIG", "the policy names no stargate.push_url", {
      hint: "add it to .kv/policy.yaml on the default branch",
    });
  }
  const pushUrl = withLogin(policy.pushUrl, fetchUrl(workspace));
  await checkStargate(workspace, pushUrl).catch((thrown: unknown) => {
    const { code, message, hint, data } = toKvError(thrown);
    const options = { ...(hint !== undefined && { hint }), ...(data && { data }), cause: thrown };
    throw new KvError(code, `the Stargate that the policy names (stargate.push_url): ${message}`, options);
  });
  configureRemote(workspace, pushUrl);
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

/** The Stargate's address; in a clone of the Stargate itself with the login that was given there. */
function withLogin(pushUrl: string, fetchUrl: string): string {
  return isSameRepository(pushUrl, fetchUrl) ? fetchUrl : pushUrl;
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
