// Reads merged triples, one JSON object a line, and reports each document that the editor refuses.
//
//   node judge.mjs FILE

import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";
import { refusal } from "./editor.mjs";

const SHOWN = 10;
let [triples, refused] = [0, 0];
for await (const line of createInterface({ input: createReadStream(process.argv[2]) })) {
  const { habit, seed, base, ours, theirs, merged } = JSON.parse(line);
  triples += 1;
  for (const [name, side] of Object.entries({ base, ours, theirs })) {
    const reason = refusal(side);
    if (reason) throw new Error(`${habit} ${seed}: ${name} is refused: ${reason}`);
  }
  for (const [policy, document] of Object.entries(merged)) {
    const reason = refusal(document);
    if (reason && (refused += 1) <= SHOWN) {
      console.log(`${habit} ${seed} ${policy}: ${reason}`);
      console.log(JSON.stringify({ base, ours, theirs, document }));
    }
  }
}
console.log(`${triples} triples, ${refused} merged documents refused`);
process.exit(triples === 0 || refused > 0 ? 1 : 0);
