/** Where backups are kept: a folder, or a bucket of an S3-compatible store (`s3://bucket/prefix`). Files are written whole or not at all. */

import * as fs from "node:fs";
import * as path from "node:path";
import { KvError, toKvError } from "../../errors.ts";
import { systemDisk } from "../../gitwire/disk.ts";
import { randomSuffix } from "../../gitwire/pack/temp-file.ts";
import { removeOld } from "../../gitwire/store/leftovers.ts";

export interface Place {
  /** As a person named it. */
  readonly name: string;
  /** Names below `folder`, sorted. */
  list(folder: string): Promise<string[]>;
  /** Bytes of `name`; undefined where it is not there. */
  size(name: string): Promise<number | undefined>;
  /** The content of `name`, in chunks. Rejects with IO where it is not there. */
  read(name: string): AsyncIterable<Uint8Array>;
  /** Puts the file at `from` there. */
  write(name: string, from: string): Promise<void>;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** The place `text` names; a relative path counts from `cwd`. Throws INPUT_INVALID. */
export function openPlace(text: string, cwd: string, env: Environment): Place {
  const [, bucket, prefix = ""] = /^s3:\/\/([^/]+)(?:\/(.*))?$/.exec(text) ?? [];
  if (bucket !== undefined) return new BucketPlace(text, bucket, prefix.replace(/\/*$/, ""), env);
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(text)) {
    throw new KvError("INPUT_INVALID", `'${text}' is no place for backups`, {
      hint: "give a folder, or s3://BUCKET/PREFIX",
    });
  }
  return new FolderPlace(path.resolve(cwd, text));
}

/** How the names of files begin that are being written, and after how many milliseconds without a write they are nobody's. */
const TEMP = ".tmp-";
const DAY = 24 * 60 * 60_000;

class FolderPlace implements Place {
  readonly name: string;
  readonly #swept = new Set<string>();

  constructor(dir: string) {
    this.name = dir;
  }

  async list(folder: string): Promise<string[]> {
    const dir = path.join(this.name, folder);
    if (!fs.existsSync(dir)) return [];
    const names = fs.readdirSync(dir).filter((name) => !name.startsWith(TEMP));
    return names.sort().map((name) => `${folder}/${name}`);
  }

  async size(name: string): Promise<number | undefined> {
    return fs.statSync(path.join(this.name, name), { throwIfNoEntry: false })?.size;
  }

  read(name: string): AsyncIterable<Uint8Array> {
    return fs.createReadStream(path.join(this.name, name), { highWaterMark: 1 << 20 });
  }

  async write(name: string, from: string): Promise<void> {
    const file = path.join(this.name, name);
    const dir = path.dirname(file);
    fs.mkdirSync(dir, { recursive: true, mode: 0o750 });
    this.#sweep(dir);
    const temp = path.join(dir, `${TEMP}${randomSuffix(8)}`);
    try {
      fs.copyFileSync(from, temp);
      fs.chmodSync(temp, 0o640);
      const fd = fs.openSync(temp, "r+");
      try {
        fs.fsyncSync(fd);
      } finally {
        fs.closeSync(fd);
      }
      fs.renameSync(temp, file);
    } catch (error) {
      fs.rmSync(temp, { force: true });
      throw error;
    }
    systemDisk.syncDir(dir);
  }

  /** Removes what backups that were killed left in `dir`, each as large as a pack may be. */
  #sweep(dir: string): void {
    if (this.#swept.has(dir)) return;
    this.#swept.add(dir);
    for (const name of fs.readdirSync(dir)) if (name.startsWith(TEMP)) removeOld(path.join(dir, name), DAY, Date.now());
  }
}

class BucketPlace implements Place {
  readonly name: string;
  readonly #prefix: string;
  readonly #client: Bun.S3Client;

  constructor(name: string, bucket: string, prefix: string, env: Environment) {
    this.name = name;
    this.#prefix = prefix === "" ? "" : `${prefix}/`;
    const setting = (one: string): string | undefined => env[`S3_${one}`] || env[`AWS_${one}`] || undefined;
    const [accessKeyId, secretAccessKey] = [setting("ACCESS_KEY_ID"), setting("SECRET_ACCESS_KEY")];
    if (accessKeyId === undefined || secretAccessKey === undefined) {
      throw new KvError("CONFIG", `the credentials for ${name} are not there`, {
        hint: "set S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY (or AWS_...), and S3_ENDPOINT for another store than Amazon's",
      });
    }
    const endpoint = setting("ENDPOINT") ?? setting("ENDPOINT_URL");
    const [region, sessionToken] = [setting("REGION"), setting("SESSION_TOKEN")];
    this.#client = new Bun.S3Client({
      bucket,
      accessKeyId,
      secretAccessKey,
      ...(endpoint !== undefined && { endpoint }),
      ...(region !== undefined && { region }),
      ...(sessionToken !== undefined && { sessionToken }),
    });
  }

  async list(folder: string): Promise<string[]> {
    const names: string[] = [];
    for (let continuationToken: string | undefined; ; ) {
      const prefix = `${this.#prefix}${folder}/`;
      const page = await this.#ask(() =>
        this.#client.list({ prefix, ...(continuationToken !== undefined && { continuationToken }) }),
      );
      for (const { key } of page.contents ?? []) names.push(key.slice(this.#prefix.length));
      if (page.isTruncated !== true) return names.sort();
      continuationToken = page.nextContinuationToken;
    }
  }

  size(name: string): Promise<number | undefined> {
    const key = this.#prefix + name;
    return this.#ask(async () => ((await this.#client.exists(key)) ? (await this.#client.stat(key)).size : undefined));
  }

  async *read(name: string): AsyncIterable<Uint8Array> {
    try {
      yield* this.#client.file(this.#prefix + name).stream();
    } catch (error) {
      throw this.#failed(error);
    }
  }

  async write(name: string, from: string): Promise<void> {
    await this.#ask(() => this.#client.write(this.#prefix + name, Bun.file(from)));
  }

  async #ask<T>(act: () => Promise<T>): Promise<T> {
    try {
      return await act();
    } catch (error) {
      throw this.#failed(error);
    }
  }

  #failed(error: unknown): KvError {
    const { code } = error as { code?: string };
    const kind = code === "NoSuchKey" ? "IO" : "NETWORK";
    return new KvError(kind, `${this.name}: ${code ?? "error"}: ${toKvError(error).message}`, { cause: error });
  }
}
