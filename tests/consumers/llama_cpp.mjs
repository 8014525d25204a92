// Greedy answers of llama.cpp. Reads {model, lora, prompts, max} from stdin, writes a list of {prompt, text} with the
// ids of the prompt. Without node-llama-cpp it ends with code 77.

import fs from "node:fs";

let library;
try {
    library = await import("node-llama-cpp");
} catch (missing) {
    console.error(`SKIPPED: ${missing.message}`);
    process.exit(77);
}
const {model: modelPath, lora, prompts, max} = JSON.parse(fs.readFileSync(0, "utf8"));
// Several threads wait for one another by spinning, which beside other work takes minutes.
const llama = await library.getLlama({gpu: false, build: "never", logLevel: "error", maxThreads: 1});
const model = await llama.loadModel({modelPath});
// Keys and values as exact as here: by default they are rounded to 16 bits.
const exact = {experimentalKvCacheKeyType: "F32", experimentalKvCacheValueType: "F32"};
const context = await model.createContext({contextSize: 512, ...exact, ...(lora ? {lora} : {})});
const answers = [];
for (const prompt of prompts) {
    const sequence = context.getSequence();
    const ids = model.tokenize(prompt, true);
    const answer = [];
    for await (const token of sequence.evaluate(ids, {temperature: 0})) {
        answer.push(token);
        if (answer.length === max) break;
    }
    answers.push({prompt: [...ids], text: model.detokenize(answer)});
    sequence.dispose();
}
process.stdout.write(JSON.stringify(answers), () => process.exit(0));
