/** `git kv snapshot --export FILE|-` and `--dir DIR`: the keys of a state and their values, in one of the formats or as files. */

import * as path from "node:path";
import { gzipSync } from "node:zlib";
import { utf8ToByteString } from "../bytes.ts";
import type { Context } from "../cli/context.ts";
import { KvError } from "../errors.ts";
import { ProgressMeter } from "../kv/progress-meter.ts";
import { stateToRead } from "../kv/read-from.ts";
import { exportedKeys } from "../kv/snapshot/exported.ts";
import { formatOf, leftBehindBy, writerOf } from "../kv/snapshot/formats.ts";
import type { SnapshotWriter, WriteText } from "../kv/snapshot/writer.ts";
import { TimeSlice } from "../time-slice.ts";
import { countOf } from "./count.ts";
import { openWorkspace } from "./open.ts";
import { OutputFile } from "./output-file.ts";

export async function run(context: Context): Promise<void> {
  const { flags, out, clock } = context;
  const [file, folder] = [flags.value("export"), flags.value("dir")];
  if ((file === undefined) === (folder === undefined)) {
    throw new KvError("USAGE", "snapshot needs one of --export FILE and --dir DIR", {
      hint: "--export - writes to standard output",
    });
  }
  const isShaped =
    flags.on("nested") || [flags.value("format"), flags.value("separator")].some((each) => each !== undefined);
  if (folder !== undefined && isShaped) {
    throw new KvError("USAGE", "--format, --nested and --separator go with --export");
  }
  if (file === "-" && out.json) throw new KvError("USAGE", "--json and --export - do not go together");
  const workspace = openWorkspace(context);
  const newest = await stateToRead(workspace, flags.value("read-from"));
  const at = flags.value("at");
  const then = at === undefined ? undefined : await (await import("../kv/at.ts")).momentAt(workspace, newest, at);
  const state = then?.state ?? newest;
  const meter = new ProgressMeter(
    "exporting",
    (text) => out.progress(text),
    () => clock.now(),
  );
  const counts = { keys: 0, bytes: 0 };
  const range = {
    prefix: utf8ToByteString(flags.value("prefix") ?? ""),
    now: flags.on("allow-expired") ? undefined : (then?.now ?? workspace.now()),
  };
  const format = folder === undefined ? formatOf(flags.value("format"), file!) : "folder";
  const left = await leftBehindBy(format);
  const all = async (writer: SnapshotWriter): Promise<void> => {
    writer.begin();
    const slice = new TimeSlice(1);
    for await (const some of exportedKeys(workspace, state, range)) {
      if (slice.isOver()) await slice.pause(context.signal);
      for (const exported of some) {
        const work = writer.add(exported);
        if (work instanceof Promise) await work;
        left?.add(exported);
        counts.keys++;
        counts.bytes += exported.meta.size;
      }
      meter.tell(counts.bytes, undefined, () => `${counts.keys} keys`);
    }
    writer.end();
  };
  const strip = flags.on("strip-prefix") ? (flags.value("prefix") ?? "") : "";
  if (format === "folder") await writeFolder(path.resolve(context.cwd, folder!), strip, all);
  else {
    const options = { strip, separator: flags.on("nested") ? (flags.value("separator") ?? ".") : undefined };
    await writeTo(context, file!, async (write) => all(await writerOf(format, state, options, write)));
  }
  meter.end();
  if (left?.said !== undefined) out.warn(left.said);
  const { seq, oid } = state.ledger;
  if (out.json) out.record({ file, dir: folder, ...counts, seq, oid });
  else out.note(`exported ${countOf(counts.keys, "key")} of transaction ${seq}`);
}

async function writeFolder(
  folder: string,
  strip: string,
  all: (writer: SnapshotWriter) => Promise<void>,
): Promise<void> {
  const { folderWriter } = await import("./snapshot-folder.ts");
  const writer = folderWriter(folder, strip);
  try {
    await all(writer);
  } finally {
    writer.discard();
  }
}

/** Text is handed on in portions of about so many characters; each is a member of its own of a gzip file. */
const PORTION = 1024 * 1024;

/** Gives `produce` a place to write to: standard output, or a file that is there whole or not at all. */
async function writeTo(
  { out, cwd }: Context,
  name: string,
  produce: (write: WriteText) => Promise<void>,
): Promise<void> {
  const file = name === "-" ? undefined : OutputFile.create(path.resolve(cwd, name));
  const pack = name.endsWith(".gz") ? (bytes: Buffer): Buffer => gzipSync(bytes) : (bytes: Buffer): Buffer => bytes;
  let gathered = "";
  const flush = (): void => {
    const bytes = pack(Buffer.from(gathered));
    gathered = "";
    if (file === undefined) out.answer(bytes);
    else file.write(bytes);
  };
  try {
    await produce((text) => {
      gathered += text;
      if (gathered.length >= PORTION) flush();
    });
    flush();
    file?.commit({ fsync: true });
  } finally {
    file?.discard();
  }
}
