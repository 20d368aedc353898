/** Requests for http:// addresses at a proxy that wants a login by Digest: the first is refused with a challenge and sent again. */

import { DigestChallenge } from "./digest.ts";
import { type HttpRequest, sendRequest } from "./http-client.ts";
import type { HttpSettings } from "./http-settings.ts";
import { splitLogin } from "./route.ts";

/** Sends the request; `settings.proxy` may have a login, of which nothing but the user's name is shown to anybody. */
export async function sendByDigest(request: HttpRequest, settings: HttpSettings, shown: string): Promise<Response> {
  const [, scheme = "", login, rest = ""] = /^([a-z]+:\/\/)(?:([^/]*)@)?(.*)$/i.exec(settings.proxy ?? "") ?? [];
  const without = { ...settings, proxy: scheme + rest };
  const response = await sendRequest(request, without, shown);
  if (response.status !== 407 || login === undefined) return response;
  const challenge = DigestChallenge.find(response.headers.get("proxy-authenticate") ?? "");
  if (challenge === undefined) return response;
  await response.body?.cancel();
  request.onSent?.(false);
  const [user, password = ""] = splitLogin(login);
  const answer = challenge.answer(user, password, request.method, request.url);
  return sendRequest({ ...request, headers: [...request.headers, ["Proxy-Authorization", answer]] }, without, shown);
}
