// Written by `host policy build`. node componentize.mjs MODULE WIT OUTPUT
import { writeFile } from "node:fs/promises";
import { componentize } from "@bytecodealliance/componentize-js";

const [sourcePath, witPath, output] = process.argv.slice(2);
// A policy imports nothing, so none of the features that would is in it.
const disableFeatures = ["stdio", "random", "clocks", "http", "fetch-event"];
try {
  const { component } = await componentize({
    sourcePath,
    witPath,
    worldName: "policy",
    disableFeatures,
  });
  await writeFile(output, component);
} catch (error) {
  console.error(error.message ?? error);
  process.exit(1);
}
