/** How the certificate of an HTTPS server is checked (git: git-config `http.ssl*`, GIT_SSL_* variables). */

import * as fs from "node:fs";
import * as path from "node:path";
import { KvError } from "../../errors.ts";
import { LIMITS } from "../../limits.ts";
import { expandPath } from "../config/config-value.ts";
import type { Environment } from "./environment.ts";

export interface TlsSettings {
  /** False: any certificate will do (`http.sslVerify=false`). */
  readonly rejectUnauthorized: boolean;
  /** Certificates to trust instead of the built-in ones, in PEM. */
  readonly ca?: string;
  /** Certificate and key of this client, in PEM. */
  readonly cert?: string;
  readonly key?: string;
  /** The oldest version of the protocol that will do (`http.sslVersion`), as it is written in a record. */
  readonly minVersion?: number;
  /** What may be agreed on below TLS 1.3 (`http.sslCipherList`), in the words of OpenSSL. */
  readonly ciphers?: string;
}

/** Settings from the configuration; `get` reads `http.<key>` for the URL at hand. */
export function tlsSettings(get: (key: string) => string | undefined, env: Environment): TlsSettings {
  // Git's rule: the variable alone counts, whatever its value.
  const verify = env.GIT_SSL_NO_VERIFY === undefined && !/^(0|false|no|off)$/i.test(get("sslverify") ?? "true");
  if (get("pinnedpubkey") !== undefined) {
    throw new KvError("UNSUPPORTED", "http.pinnedPubkey is set, but public keys cannot be pinned here", {
      hint: "use http.sslCAInfo with the one certificate you trust",
    });
  }
  const file = (key: string): string | undefined => {
    const value = get(key);
    return value === undefined ? undefined : expandPath(value, env);
  };
  const bundle = env.GIT_SSL_CAINFO ?? file("sslcainfo") ?? env.SSL_CERT_FILE;
  const folder = env.GIT_SSL_CAPATH ?? file("sslcapath");
  const cert = env.GIT_SSL_CERT ?? file("sslcert");
  const key = env.GIT_SSL_KEY ?? file("sslkey") ?? cert;
  const minVersion = oldestVersion(env.GIT_SSL_VERSION ?? get("sslversion"));
  const ciphers = env.GIT_SSL_CIPHER_LIST ?? get("sslcipherlist");
  const ca = (bundle === undefined ? "" : readPem(bundle)) + (folder === undefined ? "" : readFolder(folder));
  return {
    rejectUnauthorized: verify,
    ...(ca === "" || !verify ? {} : { ca }),
    ...(cert === undefined || key === undefined ? {} : { cert: readPem(cert), key: readPem(key) }),
    ...(minVersion === undefined ? {} : { minVersion }),
    ...(ciphers === undefined || ciphers === "" ? {} : { ciphers }),
  };
}

/** Settings for an https:// proxy (`http.proxySSL*`, GIT_PROXY_SSL_*) where there are any of its own. */
export function proxyTlsSettings(get: (key: string) => string | undefined, env: Environment): TlsSettings | undefined {
  const file = (variable: string, key: string): string | undefined => {
    const value = env[variable] ?? get(key);
    return value === undefined ? undefined : expandPath(value, env);
  };
  const ca = file("GIT_PROXY_SSL_CAINFO", "proxysslcainfo");
  const cert = file("GIT_PROXY_SSL_CERT", "proxysslcert");
  const key = file("GIT_PROXY_SSL_KEY", "proxysslkey") ?? cert;
  if (ca === undefined && cert === undefined) return undefined;
  return {
    rejectUnauthorized: true,
    ...(ca === undefined ? {} : { ca: readPem(ca) }),
    ...(cert === undefined || key === undefined ? {} : { cert: readPem(cert), key: readPem(key) }),
  };
}

/**
 * What `http.sslVersion` asks for: as with curl, that version or a newer one. Older ones than TLS 1.2 are not spoken here, so that
 * asking for one asks for nothing. Throws UNSUPPORTED for SSL, which nothing speaks any more.
 */
function oldestVersion(name: string | undefined): number | undefined {
  if (name === "tlsv1.2") return 0x0303;
  if (name === "tlsv1.3") return 0x0304;
  if (name !== "sslv2" && name !== "sslv3") return undefined;
  throw new KvError("UNSUPPORTED", `http.sslVersion is ${name}, which is not spoken here`, {
    hint: "unset it: the newest version that both sides know is taken",
  });
}

/** Where systems keep the certificates they trust: consulted when the built-in ones do not know a server's. */
const SYSTEM_BUNDLES = [
  "/etc/ssl/certs/ca-certificates.crt",
  "/etc/pki/tls/certs/ca-bundle.crt",
  "/etc/ssl/ca-bundle.pem",
  "/etc/ssl/cert.pem",
];

/** The system's certificates, which may hold a company's own; undefined where there are none or others were configured. */
export function systemCertificates(settings: TlsSettings): TlsSettings | undefined {
  if (settings.ca !== undefined || !settings.rejectUnauthorized) return undefined;
  const file = SYSTEM_BUNDLES.find((name) => fs.existsSync(name));
  return file === undefined ? undefined : { ...settings, ca: readPem(file) };
}

function readPem(file: string): string {
  try {
    if (fs.statSync(file).size > LIMITS.configBytes) throw new KvError("LIMIT_EXCEEDED", `${file} is too large`);
    return `${fs.readFileSync(file, "latin1")}\n`;
  } catch (cause) {
    if (cause instanceof KvError) throw cause;
    throw new KvError("CONFIG", `cannot read the certificates in ${file}: ${(cause as Error).message}`, { cause });
  }
}

/** OpenSSL's folder of certificates: files named by hash, `5ed36f99.0`. */
function readFolder(folder: string): string {
  let names: string[];
  try {
    names = fs.readdirSync(folder).filter((name) => /^[0-9a-f]{8}\.[0-9]+$/.test(name));
  } catch (cause) {
    throw new KvError("CONFIG", `cannot read the certificates in ${folder}: ${(cause as Error).message}`, { cause });
  }
  // Without an authority the built-in ones would be trusted, where these were to be the only ones.
  if (names.length === 0) {
    throw new KvError("CONFIG", `there are no certificates in ${folder}`, {
      hint: "their files are named by their hash there: run 'openssl rehash' on the folder",
    });
  }
  return names.map((name) => readPem(path.join(folder, name))).join("");
}
