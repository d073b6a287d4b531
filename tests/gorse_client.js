// Calls every method of gorsejs against a server; prints what each answered as JSON.
const { Gorse } = require("gorsejs");
const [endpoint, secret] = process.argv.slice(2);
const client = new Gorse({ endpoint, secret });
const answers = {};

async function call(method, ...given) {
  try {
    answers[method] = await client[method](...given);
  } catch (error) {
    answers[method] = { code: error.code, message: error.message };
  }
  return answers[method];
}

async function main() {
  const Timestamp = "2022-08-07T00:26:46Z";
  const item = { ItemId: "js", IsHidden: false, Labels: ["a"], Categories: ["d", "e"], Timestamp, Comment: "c" };
  const feedback = { FeedbackType: "like", UserId: "js user", ItemId: "js", Timestamp };
  const of = { type: "like", userId: "js%20user", itemId: "js" };
  await call("insertUser", { UserId: "js user", Labels: ["a", "b"], Comment: "comment" });
  await call("insertUsers", [{ UserId: "js 2" }]);
  await call("updateUser", "js%20user", { Comment: "other" });
  await call("getUser", "js%20user");
  const users = await call("getUsers", { n: 1 });
  answers.nextUsers = await client.getUsers({ n: 1, Cursor: users.Cursor });
  await call("upsertItem", item);
  await call("upsertItems", [item, { ...item, ItemId: "js2", IsHidden: true }]);
  await call("updateItem", "js", { Comment: "changed" });
  await call("insertItemCategory", "js", "f");
  await call("deleteItemCategory", "js", "d");
  await call("getItem", "js");
  await call("getItems", { n: 2 });
  await call("insertFeedbacks", [feedback]);
  await call("upsertFeedbacks", [{ ...feedback, Timestamp: "2023-01-01" }]);
  await call("getFeedback", of);
  await call("getFeedbacks", "like", { n: 2 });
  answers.allFeedbacks = await client.getFeedbacks(undefined, { n: 3 });
  await call("getItemFeedback", "js");
  await call("getItemFeedbackByType", "js", "like");
  await call("getUserFeedback", "js%20user");
  await call("getUserFeedbackByType", "js%20user", "like");
  await call("getPopular", { cursorOptions: { n: 3 } });
  await call("getLatest", { category: "e" });
  await call("getRecommend", { userId: "u1", category: "red", cursorOptions: { n: 3, offset: 1 } });
  await call("getSessionRecommend", [{ ...feedback, ItemId: "red/1" }], { cursorOptions: { n: 2 } });
  await call("getItemNeighbors", { itemId: "red%2F1", cursorOptions: { n: 2 } });
  await call("getUserNeighbors", { userId: "u1", cursorOptions: { n: 2 } });
  await call("deleteFeedback", of);
  await call("deleteItem", "js");
  await call("deleteUser", "js%20user");
  answers.missing = await client.getUser("js%20user").catch(({ name, code, message }) => ({ name, code, message }));
  const methods = Object.getOwnPropertyNames(Gorse.prototype).filter((name) => name !== "constructor");
  console.log(JSON.stringify({ answers, methods }));
}

main();
