// Calls of the service.

const PAGE = { "X-Palate-Page": "1" };

export async function get(url, accept = "text/html") {
  const answer = await fetch(url, { headers: { ...PAGE, Accept: accept } });
  if (answer.status === 401 || new URL(answer.url).pathname === "/login") location.reload();
  if (!answer.ok && answer.status !== 404) throw new Error(`the service answered ${answer.status}`);
  return answer;
}

export async function getJson(url) {
  return (await get(url, "application/json")).json();
}

export async function send(url, body, method = "POST") {
  const answer = await fetch(url, { method, headers: { ...PAGE, "Content-Type": "application/json" }, body });
  if (!answer.ok) throw new Error((await answer.json()).detail);
}
