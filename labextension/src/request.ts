// Requests to the server extension, below {server}/flatirons/.

import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';

/** A request that failed: `message` is a sentence for the user, `status` is 0 if the server doesn't answer. */
export class RequestError extends Error {
  constructor(
    message: string,
    readonly status: number
  ) {
    super(message);
  }
}

const AWAY = 'Your server does not answer.';

/** The body of the answer to a request; a body to send makes it a POST. Rejects with a RequestError. */
export async function request<T>(
  path: string,
  settings: ServerConnection.ISettings,
  body?: unknown,
  method = body === undefined ? 'GET' : 'POST'
): Promise<T> {
  const url = URLExt.join(settings.baseUrl, 'flatirons', path);
  const init: RequestInit = { method };
  if (body !== undefined) {
    init.body = JSON.stringify(body);
  }
  let response: Response;
  try {
    response = await ServerConnection.makeRequest(url, init, settings);
  } catch {
    throw new RequestError(AWAY, 0);
  }
  const text = await response.text();
  if (!response.ok) {
    throw new RequestError(messageOf(text) ?? `The server answered ${response.status}.`, response.status);
  }
  return JSON.parse(text) as T;
}

function messageOf(text: string): string | undefined {
  try {
    const message = (JSON.parse(text) as { message?: unknown }).message;
    return typeof message === 'string' ? message : undefined;
  } catch {
    return undefined;
  }
}
