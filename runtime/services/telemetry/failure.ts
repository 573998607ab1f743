/** What a failure is described with; no part of it is secret. */
export interface FailureContext {
  readonly url: string;
  readonly settings: { readonly caFile?: string | undefined };
  readonly clientId: string;
}

/** CONNACK return codes of MQTT 3.1.1, section 3.2.2.3. */
const REFUSALS: Readonly<Record<number, (context: FailureContext) => string>> = {
  1: () => 'it does not speak MQTT 3.1.1; use a broker that does',
  2: ({ clientId }) =>
    `it refuses the client identifier ${clientId}; set telemetry.client_id to one that it allows`,
  3: () => 'it says that it is not available; look into its log',
  4: () => 'it refuses the user name or password; check telemetry.username and telemetry.password_file',
  5: () =>
    'it does not authorise this gateway; check telemetry.username, telemetry.password_file and its access rules',
};

const UNREACHABLE = /^(ECONNREFUSED|EHOSTUNREACH|ENETUNREACH|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|EHOSTDOWN)$/;
const CERTIFICATE = /CERT|ERR_TLS|ERR_SSL|EPROTO|SELF_SIGNED/;

/** `error` of the MQTT client as an Error that names the broker and says what to do. */
export function describeFailure(error: Error, context: FailureContext): Error {
  const broker = `MQTT broker ${context.url}`;
  return new Error(`${broker}: ${reasonOf(error, context)}`, { cause: error });
}

function reasonOf(error: Error, context: FailureContext): string {
  const code = codeOf(error);
  if (typeof code === 'number') {
    const refusal = REFUSALS[code];
    if (refusal !== undefined) return refusal(context);
  }
  if (typeof code === 'string' && UNREACHABLE.test(code)) {
    return `cannot be reached (${code}); check telemetry.url, and that the broker runs and listens there`;
  }
  if (typeof code === 'string' && CERTIFICATE.test(code)) {
    const file = context.settings.caFile === undefined ? 'set telemetry.ca_file' : 'check telemetry.ca_file';
    return `its certificate is not accepted (${code}); ${file} to the authority that signed it`;
  }
  if (error.message === 'connack timeout') {
    return 'it did not accept the connection in time; check that an MQTT broker answers at telemetry.url';
  }
  return `${error.message === '' ? String(code) : error.message}; look into the broker's log`;
}

/** Node wraps the errors of several addresses of one name; the first speaks for all. */
function codeOf(error: unknown): unknown {
  if (error instanceof AggregateError && error.errors.length > 0) return codeOf(error.errors[0]);
  return error instanceof Error && 'code' in error ? error.code : undefined;
}
