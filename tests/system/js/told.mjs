// Answers and errors of a client as JSON.

// What an application does that has a token: every request carries it.
export const fetchWithToken = (resource, options = {}) => {
  const headers = new Headers(options.headers);
  if (process.env.TOKEN) headers.set("Authorization", `Bearer ${process.env.TOKEN}`);
  return fetch(resource, { ...options, headers });
};

const shownError = (error) => {
  const { name, message, code, data, reason, metadata, statusCode, envelopeCode, errorResponse } = error;
  const response = errorResponse && { code: errorResponse.error?.code, data: errorResponse.error?.data };
  return { error: { name, message, code, data, reason, metadata, statusCode, envelopeCode, response } };
};

export async function told(ask) {
  try {
    return (await ask()) ?? null;
  } catch (error) {
    return shownError(error);
  }
}

export async function toldEach(stream, onEvent = async () => {}) {
  const record = [];
  try {
    for await (const event of stream) {
      record.push(event);
      await onEvent(event);
    }
  } catch (error) {
    record.push(shownError(error));
  }
  return record;
}
