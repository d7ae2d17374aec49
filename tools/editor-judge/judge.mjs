// Reads merged triples, one JSON object per line, and reports each document that the editor rejects.
//
//   node judge.mjs FILE

import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";
import { rejection } from "./editor.mjs";

const SHOWN = 10;
let [triples, rejected] = [0, 0];
for await (const line of createInterface({ input: createReadStream(process.argv[2]) })) {
  const { habit, seed, base, ours, theirs, merged } = JSON.parse(line);
  triples += 1;
  for (const [name, side] of Object.entries({ base, ours, theirs })) {
    const reason = rejection(side);
    if (reason) throw new Error(`${habit} ${seed}: ${name} is rejected: ${reason}`);
  }
  for (const [policy, document] of Object.entries(merged)) {
    const reason = rejection(document);
    if (reason && (rejected += 1) <= SHOWN) {
      console.log(`${habit} ${seed} ${policy}: ${reason}`);
      console.log(JSON.stringify({ base, ours, theirs, document }));
    }
  }
}
console.log(`${triples} triples, ${rejected} merged documents rejected`);
process.exit(triples === 0 || rejected > 0 ? 1 : 0);
