// Makes src/wire.ts from the JSON Schemas in ../schema: node tools/types.mjs [--check]
import { compileFromFile } from 'json-schema-to-typescript';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';

const HEAD = '// Made from schema/ by `npm run types`. Do not edit.\n';
const schemas = readdirSync('../schema').filter(name => name.endsWith('.json')).sort();
const parts = [];
for (const name of schemas) {
  parts.push(await compileFromFile(`../schema/${name}`, { bannerComment: '', style: { singleQuote: true } }));
}
const text = [HEAD, ...parts].join('\n');
if (!process.argv.includes('--check')) {
  writeFileSync('src/wire.ts', text);
} else if (readFileSync('src/wire.ts', 'utf8') !== text) {
  console.error('src/wire.ts is not what schema/ says: run `npm run types` in labextension/');
  process.exit(1);
}
