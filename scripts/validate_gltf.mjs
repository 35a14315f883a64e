// Checks glTF files with the official validator: node scripts/validate_gltf.mjs FILE.glb ...
// With --three instead: loads them with three.js, and prints what it finds in each as a line of JSON.
// Needs the npm packages gltf-validator and three, installed (npm install gltf-validator three) in any folder above, or
// in the one that GLTF_VALIDATOR names.
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";

const home = process.env.GLTF_VALIDATOR ?? process.cwd();
const require = createRequire(path.join(path.resolve(home), "package.json"));
// What readers do not need, said of files that are sound: unused objects and the like are told, hints are not.
const SEVERITIES = ["error", "warning", "info", "hint"];
const MAPS = ["map", "normalMap", "roughnessMap", "metalnessMap", "emissiveMap"];

async function validate(files) {
  const validator = require("gltf-validator");
  let failed = false;
  for (const file of files) {
    const report = await validator.validateBytes(new Uint8Array(await readFile(file)), { uri: file });
    const { numErrors, numWarnings, numInfos, numHints, messages } = report.issues;
    console.log(`${file}: ${numErrors} errors, ${numWarnings} warnings, ${numInfos} infos, ${numHints} hints`);
    for (const { severity, code, message, pointer } of messages) {
      console.log(`  ${SEVERITIES[severity]} ${code} ${pointer ?? ""}: ${message}`);
    }
    failed ||= numErrors + numWarnings > 0;
  }
  return failed;
}

function describe(mesh) {
  const attributes = Object.entries(mesh.geometry.attributes).map(([name, attribute]) => {
    const { count, itemSize: size } = attribute;
    const values = Array.from({ length: count * size }, (_, i) => attribute.getComponent(Math.floor(i / size), i % size));
    return [name, { values, size }];
  });
  const { type, color, metalness, roughness, emissive, emissiveIntensity, vertexColors } = mesh.material;
  return {
    name: mesh.name,
    world: mesh.matrixWorld.toArray(),
    indices: mesh.geometry.index && Array.from(mesh.geometry.index.array),
    attributes: Object.fromEntries(attributes),
    material: {
      type,
      color: color.toArray(),
      metalness,
      roughness,
      emissive: emissive?.toArray().map((value) => value * emissiveIntensity),
      vertexColors,
      maps: MAPS.filter((name) => mesh.material[name]),
    },
  };
}

async function load(files) {
  globalThis.self ??= globalThis;
  // Pictures are not decoded: the packages above cannot, without a browser.
  globalThis.createImageBitmap ??= async () => ({ width: 1, height: 1, close() {} });
  const { GLTFLoader } = await import(pathToFileURL(require.resolve("three/addons/loaders/GLTFLoader.js")));
  for (const file of files) {
    const { buffer } = new Uint8Array(await readFile(file));
    const { scene } = await new GLTFLoader().parseAsync(buffer, "");
    scene.updateMatrixWorld(true);
    const meshes = [];
    scene.traverse((node) => node.isMesh && meshes.push(describe(node)));
    console.log(JSON.stringify(meshes));
  }
  return false;
}

const files = process.argv.slice(2).filter((word) => word !== "--three");
const failed = await (files.length < process.argv.length - 2 ? load(files) : validate(files));
process.exitCode = failed ? 1 : 0;
