/**
 * Amazon's signature version 4, checked as a server does (docs.aws.amazon.com, "Signature Version 4 signing process"), written from
 * the specification and not from any client: what it lets through, a real store does.
 */

import { createHash, createHmac, timingSafeEqual } from "node:crypto";

export interface S3Login {
  readonly accessKeyId: string;
  readonly secret: string;
  readonly region: string;
}

/** The code S3 would refuse the request with; undefined where the signature is good. */
export function signatureProblem(request: Request, body: Buffer, login: S3Login): string | undefined {
  const header = request.headers.get("authorization") ?? "";
  const fields = /^AWS4-HMAC-SHA256 Credential=([^,]+), ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})$/.exec(
    header,
  );
  if (fields === null) return "AuthorizationHeaderMalformed";
  const [, credential, signed, signature] = fields as unknown as [string, string, string, string];
  const [id, day, region, service, end] = credential.split("/");
  const time = request.headers.get("x-amz-date") ?? "";
  if (id !== login.accessKeyId) return "InvalidAccessKeyId";
  if (region !== login.region || service !== "s3" || end !== "aws4_request") return "AuthorizationHeaderMalformed";
  if (!/^\d{8}T\d{6}Z$/.test(time) || !time.startsWith(day!)) return "AuthorizationHeaderMalformed";
  const age = Math.abs(Date.now() - Date.parse(time.replace(/^(....)(..)(..)T(..)(..)(..)Z$/, "$1-$2-$3T$4:$5:$6Z")));
  if (age > 15 * 60_000) return "RequestTimeTooSkewed";
  const names = signed.split(";");
  // What routes the request or says what its body is must not be changeable under way.
  for (const name of ["host", "x-amz-date", "x-amz-content-sha256"]) if (!names.includes(name)) return "AccessDenied";
  const content = request.headers.get("x-amz-content-sha256")!;
  if (content !== "UNSIGNED-PAYLOAD" && content !== sha256(body)) return "XAmzContentSHA256Mismatch";
  const scope = [day, region, service, end].join("/");
  const text = ["AWS4-HMAC-SHA256", time, scope, sha256(canonical(request, names, content))].join("\n");
  const key = [day!, region!, service!, end!].reduce<Buffer>(hmac, Buffer.from(`AWS4${login.secret}`));
  const expected = hmac(key, text);
  return timingSafeEqual(expected, Buffer.from(signature, "hex")) ? undefined : "SignatureDoesNotMatch";
}

function canonical(request: Request, names: readonly string[], content: string): string {
  const { pathname, search } = new URL(request.url);
  const query = search
    .slice(1)
    .split("&")
    .filter((pair) => pair !== "")
    .map((pair) => pair.split("=").map((part) => encode(decodeURIComponent(part))))
    .map(([name, value = ""]) => `${name}=${value}`)
    .sort();
  const path = pathname
    .split("/")
    .map((part) => encode(decodeURIComponent(part)))
    .join("/");
  const headers = names.map((name) => `${name}:${(request.headers.get(name) ?? "").trim().replace(/ +/g, " ")}\n`);
  return [request.method, path, query.join("&"), headers.join(""), names.join(";"), content].join("\n");
}

/** All but the unreserved characters of RFC 3986, as the specification of the signature wants it. */
function encode(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
}

function sha256(data: string | Buffer): string {
  return createHash("sha256").update(data).digest("hex");
}

function hmac(key: Buffer, text: string): Buffer {
  return createHmac("sha256", key).update(text).digest();
}
