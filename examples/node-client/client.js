// A client of DBStorage: signs up a user, closes an order, asks for the history by requestId and prints it.
//
// REDIS_URL says where Redis is (default redis://127.0.0.1:6379/0), the first argument which user it is.

import { randomUUID } from "node:crypto";
import { createClient } from "redis";

const COMMANDS = process.env.DBSTORAGE_STREAM ?? "exness:dbstorage-stream";
const RESPONSES = process.env.RESPONSE_STREAM ?? "exness:response-stream";
// Milliseconds; the service does not answer a question that is older.
const TIMEOUT = 5000;

// Write a command in the engine's own layout: one field that holds one JSON object.
function send(client, command) {
  return client.xAdd(COMMANDS, "*", { message: JSON.stringify(command) });
}

// Ask for a user's closed orders; `options` are limit, cursor and detail. Rejects when no answer comes.
async function ask(client, userId, options = {}) {
  // Where to read from is found out before asking, or a quick answer would be missed.
  const [newest] = await client.xRevRange(RESPONSES, "+", "-", { COUNT: 1 });
  let position = newest?.id ?? "0-0";
  const requestId = randomUUID();
  await send(client, { function: "getCloseOrders", userId, requestId, ...options });
  const deadline = Date.now() + TIMEOUT;
  for (let left = TIMEOUT; left > 0; left = deadline - Date.now()) {
    const streams = (await client.xRead({ key: RESPONSES, id: position }, { BLOCK: left })) ?? [];
    for (const { id, message } of streams.flatMap((stream) => stream.messages)) {
      position = id;
      const answer = JSON.parse(message.message);
      if (answer.requestId === requestId) {
        // The orders are JSON inside JSON.
        return { ...answer, orders: JSON.parse(answer.message) };
      }
    }
  }
  throw new Error(`No answer within ${TIMEOUT / 1000} s: is the service running?`);
}

const userId = process.argv[2] ?? "node-example";
const client = createClient({ url: process.env.REDIS_URL ?? "redis://127.0.0.1:6379/0" });
client.on("error", (error) => {
  console.error(`Redis cannot be used: ${error.message || error.code}.`);
  process.exit(1);
});
await client.connect();

await send(client, { function: "createUser", message: { userId, userEmail: `${userId}@example.com` } });
await send(client, {
  function: "createCloseOrder",
  message: {
    orderId: randomUUID(),
    userId,
    symbol: "eth",
    type: "sell",
    quantity: 2,
    leverage: 5,
    takeProfit: null,
    stopLoss: null,
    stippage: 0.5,
    openPrice: 3100.5,
    closePrice: 3080.25,
    openTime: new Date(Date.now() - 300_000).toISOString(),
    closeTime: new Date().toISOString(),
    profitLoss: 40.5,
  },
});
try {
  const answer = await ask(client, userId, { limit: 10 });
  if (answer.error) {
    throw new Error(`The service answered with the error ${answer.error}.`);
  }
  for (const { closeTime, orderId, type, quantity, symbol, openPrice, closePrice, profitLoss } of answer.orders) {
    const order = `${type} ${quantity} ${symbol}`;
    console.log(`${closeTime}  ${orderId}  ${order}  ${openPrice} -> ${closePrice}  profit ${profitLoss}`);
  }
  if (answer.hasMore) {
    console.log(`There are more: ask again with cursor = ${answer.nextCursor}`);
  }
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
} finally {
  client.destroy();
}
