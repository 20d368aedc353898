/**
 * A delivery as an HTTP request. The usual form is that of Standard Webhooks (standardwebhooks.com):
 *
 *   webhook-id: <delivery>            the same each time it is tried
 *   webhook-timestamp: <Unix seconds> of this try
 *   webhook-signature: v1,<base64 of HMAC-SHA256(secret, id "." timestamp "." body)>
 *
 * A secret that begins with `whsec_` is the base64 of its bytes, any other is its bytes. The other form is GitHub's
 * repository_dispatch event (docs.github.com/rest/repos/repos#create-a-repository-dispatch-event), which starts workflows.
 */

import { createHmac } from "node:crypto";
import { KvError } from "../../errors.ts";
import { readFileIfThere } from "../../gitwire/disk.ts";
import { AGENT } from "../agent.ts";
import type { WebhookSettings } from "../settings.ts";
import { deliveryId, type Payload } from "./payload.ts";

export interface WebhookRequest {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

type Environment = Readonly<Record<string, string | undefined>>;

const GITHUB = "https://api.github.com";
/** Longest secret that is read. */
const MAX_SECRET = 4_096;

/** The request that tells `hook` of `payload`; `now` in milliseconds since 1970. Throws CONFIG where its secret is not there. */
export function webhookRequest(hook: WebhookSettings, payload: Payload, env: Environment, now: number): WebhookRequest {
  return "repository" in hook ? dispatch(hook, payload, env) : signedPost(hook, payload, env, now);
}

function signedPost(
  hook: Exclude<WebhookSettings, { repository: string }>,
  payload: Payload,
  env: Environment,
  now: number,
): WebhookRequest {
  const body = JSON.stringify(payload);
  const id = deliveryId(payload);
  const timestamp = String(Math.floor(now / 1000));
  const secret = secretOf(hook.name, hook.secret_file, hook.secret_env, env);
  const key = secret.startsWith("whsec_") ? Buffer.from(secret.slice("whsec_".length), "base64") : secret;
  const signature = createHmac("sha256", key).update(`${id}.${timestamp}.${body}`).digest("base64");
  return {
    url: hook.url,
    headers: {
      "Content-Type": "application/json",
      "User-Agent": AGENT,
      "webhook-id": id,
      "webhook-timestamp": timestamp,
      "webhook-signature": `v1,${signature}`,
    },
    body,
  };
}

function dispatch(
  hook: Extract<WebhookSettings, { repository: string }>,
  payload: Payload,
  env: Environment,
): WebhookRequest {
  const token = secretOf(hook.name, hook.token_file, hook.token_env, env);
  const { repo, ns, from_seq, seq, oid, prefixes } = payload;
  return {
    url: `${(hook.api_url ?? GITHUB).replace(/\/$/, "")}/repos/${hook.repository}/dispatches`,
    headers: {
      "Content-Type": "application/json",
      "User-Agent": AGENT,
      Accept: "application/vnd.github+json",
      "X-GitHub-Api-Version": "2022-11-28",
      Authorization: `Bearer ${token}`,
    },
    // GitHub takes at most ten properties at the top.
    body: JSON.stringify({
      event_type: hook.event_type ?? "git-kv",
      client_payload: { delivery: deliveryId(payload), repo, ns, from_seq, seq, oid, prefixes },
    }),
  };
}

/** Read each time: whoever changes a secret need not tell us. */
function secretOf(hook: string, file: string | undefined, variable: string | undefined, env: Environment): string {
  const bytes = file === undefined ? undefined : readFileIfThere(file);
  const secret = (file === undefined ? env[variable!] : bytes?.subarray(0, MAX_SECRET).toString("utf8"))?.trim();
  if (secret !== undefined && secret !== "") return secret;
  throw new KvError("CONFIG", `the secret of webhook '${hook}' is not in ${file ?? `the environment as ${variable}`}`);
}
