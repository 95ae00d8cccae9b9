/**
 * Soaks: a proxy of its own process under clients that end in every way, and at the end everything must be back where it was after
 * warming up: descriptors, memory, live connections.
 *
 *   npm run soak -- 30                      half an hour of churn
 *   npm run soak -- --handshakes 100000     handshakes of every outcome
 */
import yargs from "yargs";
import { churn } from "./soak-churn.ts";
import { handshakes } from "./soak-handshakes.ts";

const args = await yargs(process.argv.slice(2))
  .scriptName("npm run soak --")
  .usage(
    "$0 [minutes]\n\nTries a proxy of its own process for a long time and fails if it does not come back to where it was.",
  )
  .command("$0 [minutes]", false, (builder) =>
    builder.positional("minutes", {
      type: "number",
      default: 1,
      describe: "how long connections of every kind come and go",
    }),
  )
  .option("handshakes", {
    type: "number",
    describe: "make so many TLS handshakes instead: full, resumed, refused, aborted",
  })
  .option("transport", { choices: ["auto", "epoll", "net"], default: "auto", describe: "what carries them" })
  .example("$0 30", "half an hour of churn")
  .example("$0 --handshakes 100000 --transport epoll", "some minutes")
  .strict()
  .version(false)
  .wrap(100)
  .parse();

const { minutes, transport } = args as unknown as { minutes: number; transport: string };
const back = await (args.handshakes === undefined
  ? churn(minutes, transport)
  : handshakes(args.handshakes, transport));
console.log(back ? "back at the baseline" : "NOT back at the baseline");
process.exit(back ? 0 : 1);
