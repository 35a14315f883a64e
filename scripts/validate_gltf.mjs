// Checks glTF files with the official validator: node scripts/validate_gltf.mjs FILE.glb ...
// Needs the npm package gltf-validator, installed in any folder above, or in the one that GLTF_VALIDATOR names.
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import path from "node:path";

const home = process.env.GLTF_VALIDATOR ?? process.cwd();
const validator = createRequire(path.join(path.resolve(home), "package.json"))("gltf-validator");
// What readers do not need, said of files that are sound: unused objects and the like are told, hints are not.
const SEVERITIES = ["error", "warning", "info", "hint"];
let failed = false;
for (const file of process.argv.slice(2)) {
  const report = await validator.validateBytes(new Uint8Array(await readFile(file)), { uri: file });
  const { numErrors, numWarnings, numInfos, numHints, messages } = report.issues;
  console.log(`${file}: ${numErrors} errors, ${numWarnings} warnings, ${numInfos} infos, ${numHints} hints`);
  for (const { severity, code, message, pointer } of messages) {
    console.log(`  ${SEVERITIES[severity]} ${code} ${pointer ?? ""}: ${message}`);
  }
  failed ||= numErrors + numWarnings > 0;
}
process.exitCode = failed ? 1 : 0;
