/**
 * The status page as it is sent: one HTML file with its style and its script in it, and a content security policy that allows
 * these two, by their hashes, and requests to where it came from. Nothing else is loaded, from anywhere.
 */

import browser from "./page/browser.js" with { type: "text" };
import plot from "./page/plot.js" with { type: "text" };
import style from "./page/status.css" with { type: "text" };
import html from "./page/status.html" with { type: "text" };
import status from "./page/status.js" with { type: "text" };

export interface StatusPage {
  readonly html: string;
  /** Content-Security-Policy (CSP 3). */
  readonly policy: string;
}

/** One after the other: each builds on those before it. */
const SCRIPT = [plot, browser, status].map(String).join("\n");

let made: StatusPage | undefined;

/** The page, put together once. */
export function statusPage(): StatusPage {
  made ??= {
    html: fill(fill(String(html), "/*STYLE*/", String(style)), "/*SCRIPT*/", SCRIPT),
    policy: [
      "default-src 'none'",
      `script-src '${hashOf(SCRIPT)}'`,
      `style-src '${hashOf(String(style))}'`,
      "connect-src 'self'",
      "img-src data:",
      "base-uri 'none'",
      "form-action 'none'",
      "frame-ancestors 'none'",
    ].join("; "),
  };
  return made;
}

/** Puts `text` in the place of `mark`, as it is (`$&` and the like mean nothing). */
function fill(page: string, mark: string, text: string): string {
  return page.replace(mark, () => text);
}

function hashOf(text: string): string {
  return `sha256-${new Bun.CryptoHasher("sha256").update(text).digest("base64")}`;
}
