/** The policy a Stargate starts with where there is none on the default branch. */

/** What `init` was told. */
export interface PolicyChoices {
  readonly ns: string;
  readonly pushUrl: string | undefined;
  /** An SSH public key: the first admin and writer, and signatures are required, in every namespace. */
  readonly adminKey: string | undefined;
}

/** Text of the first `.kv/policy.yaml`. */
export function stargatePolicy({ ns, pushUrl, adminKey }: PolicyChoices): string {
  const lines = [
    "# Who may write what (docs/policy.md). It takes force with 'git kv policy apply'.",
    "version: 1",
    "stargate:",
  ];
  if (pushUrl === undefined) lines.push("  # push_url: https://stargate.example.com/kv.git");
  else lines.push(`  push_url: ${quoted(pushUrl)}`);
  lines.push(adminKey === undefined ? "  admins: []" : `  admins: [${quoted(adminKey)}]`);
  lines.push("namespaces:", `  ${quoted(ns)}:`, `    require_signed_commits: ${adminKey !== undefined}`);
  lines.push("    verify: replay", "    max_value_inline: 1MiB", "    max_keys_per_txn: 100000");
  if (adminKey !== undefined) {
    lines.push("    writers:", `      - ${quoted(adminKey)}`);
    // Whoever may write at all could else begin another namespace, unsigned.
    lines.push('  "*":', "    require_signed_commits: true", "    writers:", `      - ${quoted(adminKey)}`);
  }
  return `${lines.join("\n")}\n`;
}

/** Text as a YAML double-quoted scalar: JSON's strings are a part of YAML's. */
function quoted(text: string): string {
  return JSON.stringify(text);
}
