// What the tests ask, and what they know of the providers' side. The addresses come from e2e/world.py.

export const gateway = process.env.GATEWAY_URL;
/** Asks a provider a second time after an error. At the other gateway, errors of other tests may have spent the budget for that. */
export const repeating = process.env.REPEATING_GATEWAY_URL;
export const simulator = process.env.SIMULATOR_URL;
const direct = process.env.E2E_DIRECT === "1";

const names = { openai: "gpt-4o-mini", anthropic: "claude-haiku-4-5" };

/** The providers a client of this dialect can ask; without a gateway nothing translates. */
export const providers = (dialect) => (direct ? [dialect] : Object.keys(names));

/** Tests of what only a gateway does. */
export const throughGateway = { skip: direct && "the simulator does not do what a gateway does" };

export function model(provider, fault) {
  const name = names[provider] + (fault ? `+fault:${fault}` : "");
  return direct ? name : `${provider}/${name}`;
}

export const question = [{ role: "user", content: "What is the capital of France?" }];
export const answer = "The capital of France is Paris.";
export const slow = "drip=20,split=64";
const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
export const weather = { name: "get_weather", description: "The weather in a city", parameters };

async function everything() {
  const ledger = await (await fetch(`${simulator}/ledger`)).json();
  return Array.isArray(ledger) ? ledger : ledger.entries;
}

/** The simulator's ledger from here on. */
export async function ledger() {
  const seen = Math.max(0, ...(await everything()).map((entry) => entry.sequence));
  const calls = async () => (await everything()).filter((entry) => entry.sequence > seen);
  return {
    calls,
    /** True once a call fulfils the condition, looked for so long. */
    async within(milliseconds, condition) {
      const deadline = Date.now() + milliseconds;
      while (Date.now() < deadline) {
        if ((await calls()).some(condition)) return true;
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      return false;
    },
  };
}

export const peerClosed = (call) => typeof call.ending === "object" && "peer_closed" in call.ending;
