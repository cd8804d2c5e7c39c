// Validates asyncapi.yaml with AsyncAPI's own parser, references to the JSON Schemas included:
//   npm install --prefix .cache/asyncapi --no-package-lock --ignore-scripts @asyncapi/parser@3.6.3
//   node contracts/validate.mjs
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

const { fromFile, Parser } = createRequire(new URL("../.cache/asyncapi/", import.meta.url))("@asyncapi/parser");

const IGNORED = new Set(["asyncapi-latest-version"]); // 3.0.0 is meant: not every tool reads 3.1 yet

const file = process.argv[2] ?? fileURLToPath(new URL("asyncapi.yaml", import.meta.url));
const { document, diagnostics } = await fromFile(new Parser(), file).parse();
const faults = diagnostics.filter(({ code }) => !IGNORED.has(code));
for (const { code, message, path } of faults) {
  console.error(`${path.join(".")}: ${message} (${code})`);
}
if (document === undefined || faults.length > 0) {
  process.exit(1);
}
console.log(`AsyncAPI ${document.version()}: ${document.allChannels().length} channels, ${document.allMessages().length} messages`);
