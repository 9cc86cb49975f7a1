import { ServerConnection } from '@jupyterlab/services';

import { request, RequestError } from '../request';

function settings(answer: () => Promise<Response>): ServerConnection.ISettings {
  return ServerConnection.makeSettings({ baseUrl: 'http://localhost/user/alice/', fetch: answer });
}

function answered(status: number, body: string): Promise<Response> {
  return Promise.resolve({ ok: status < 400, status, text: () => Promise.resolve(body) } as Response);
}

describe('request', () => {
  it('returns the body', async () => {
    expect(await request('jobs', settings(() => answered(200, '{"jobs": []}')))).toEqual({ jobs: [] });
  });

  it('rejects with the sentence of the server', async () => {
    const refused = request('jobs', settings(() => answered(502, '{"message": "Slurm is away."}')));
    await expect(refused).rejects.toEqual(new RequestError('Slurm is away.', 502));
  });

  it('says so when the server does not answer', async () => {
    const away = request('jobs', settings(() => Promise.reject(new TypeError('no'))));
    await expect(away).rejects.toMatchObject({ message: 'Your server does not answer.', status: 0 });
  });
});
