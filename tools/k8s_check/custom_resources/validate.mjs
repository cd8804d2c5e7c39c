// Validates custom resources, given as a JSON list on standard input: [{"where": "…", "object": {…}}, …].
// The compiler finds fields that the CRD does not have (excess properties of a literal) and wrong types; the models' own
// validators find what types cannot say: patterns, ranges, lengths. Prints a line for each fault; exit code 1 where any.
import { readFileSync } from "node:fs";
import { join } from "node:path";

const PACKAGES = {
  "cert-manager.io": "cert-manager",
  "external-secrets.io": "external-secrets",
  "gateway.envoyproxy.io": "envoy-gateway",
  "gateway.networking.k8s.io": "gateway-api",
  "keda.sh": "keda",
  "monitoring.coreos.com": "prometheus-operator",
};

// The folder that node_modules lies in.
const here = process.env.K8S_CHECK_MODELS;
const modules = join(here, "node_modules");
const { default: ts } = await import(join(modules, "typescript/lib/typescript.js"));

const entries = JSON.parse(readFileSync(0, "utf-8"));
const faults = [];
const imports = [];
const lines = [];
for (const [index, { where, object }] of entries.entries()) {
  const [group, version] = object.apiVersion.split("/");
  const folder = PACKAGES[group] && `@kubernetes-models/${PACKAGES[group]}/${group}/${version}`;
  let model;
  try {
    model = (await import(join(modules, folder, "index.js")))[object.kind];
  } catch {
    model = undefined;
  }
  if (model === undefined) {
    faults.push(`${where}: no schema of ${object.apiVersion} ${object.kind}`);
    continue;
  }
  try {
    new model(object).validate();
  } catch (error) {
    faults.push(`${where}: ${error.message}`);
  }
  imports.push(`import type { I${object.kind} as T${index} } from "${folder}";`);
  lines.push({ where, text: `export const o${index}: T${index} = ${JSON.stringify(object)};` });
}

// One object a line, so that a diagnostic's line says whose it is.
const file = join(here, "objects.ts");
const source = [...imports, ...lines.map(({ text }) => text)].join("\n");
const options = {
  strict: true,
  noEmit: true,
  skipLibCheck: true,
  types: [],
  target: ts.ScriptTarget.ES2022,
  module: ts.ModuleKind.ESNext,
  moduleResolution: ts.ModuleResolutionKind.Bundler,
};
const host = ts.createCompilerHost(options);
const readSourceFile = host.getSourceFile.bind(host);
host.getSourceFile = (name, ...rest) =>
  name === file ? ts.createSourceFile(name, source, options.target) : readSourceFile(name, ...rest);
const program = ts.createProgram([file], options, host);
for (const diagnostic of ts.getPreEmitDiagnostics(program)) {
  const text = ts.flattenDiagnosticMessageText(diagnostic.messageText, " ");
  const line = diagnostic.file?.getLineAndCharacterOfPosition(diagnostic.start).line ?? -1;
  faults.push(`${lines[line - imports.length]?.where ?? "objects"}: ${text}`);
}
for (const fault of faults) console.log(fault);
process.exitCode = faults.length ? 1 : 0;
