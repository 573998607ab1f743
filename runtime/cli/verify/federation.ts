/** Models and rounds in a gateway's directory: votes, records, and that promises cover what was done. */
import { toHex } from '../../core/encoding/base64.ts';
import { decodeCbor, encodeCbor, equalBytes } from '../../core/encoding/cbor.ts';
import { byteString, fieldsOf, safeInteger } from '../../core/encoding/fields.ts';
import { initialParameters } from '../../core/learning/model.ts';
import { type CertifiedModel, decodeCertifiedModel } from '../../services/federation/memory.ts';
import { createParties, type Parties } from '../../services/federation/parties.ts';
import { checkVotes, resolveRecord } from '../../services/federation/record.ts';
import type { Agreement } from '../../state/agreement/agreement.ts';
import { unordered } from '../../state/journal/keys.ts';
import { createKeyring } from '../../state/provenance/judge.ts';
import type { Roster } from '../../state/provenance/roster.ts';
import { modelOf } from '../../terms.ts';
import { broken } from './broken.ts';
import type { Checked, SectionsContext } from './checked.ts';
import { inRecord, sectionOf } from './stored.ts';

const MODEL = 'model/';

/** @throws Broken naming the record that does not hold. */
export async function checkFederation({
  store,
  agreement,
  gateway,
  stored,
}: SectionsContext): Promise<Checked> {
  const parties = partiesEver(agreement, gateway, stored.roster);
  const spec = modelOf(agreement.terms);
  const own = `${toHex(agreement.hash)}/`;
  const rounds = new Map<string, { readonly round: number; readonly bytes: Uint8Array }>();
  let newest: CertifiedModel | undefined;
  let promised: number | undefined;
  let [held, outside] = [0, 0];
  for await (const [key, value] of sectionOf(store, 'federation')) {
    if (!key.startsWith(own)) {
      outside += 1;
      continue;
    }
    const name = key.slice(own.length);
    if (name.startsWith(MODEL)) {
      const version = unordered(name.slice(MODEL.length));
      newest = inRecord(`model version ${version}`, () => {
        const [parameters, votes] = fieldsOf(decodeCbor(value), 2, 'stored model');
        const model = decodeCertifiedModel(encodeCbor([version, parameters!, votes!]), spec);
        const { head } = checkVotes(model.votes, parties);
        if (head.version !== version) throw new Error(`its votes are for version ${head.version}`);
        if (!equalBytes(head.hash, model.head.hash)) throw new Error('its votes are for other parameters');
        return model;
      });
      held += 1;
    } else if (name === 'promised') {
      promised = inRecord('the round promised', () =>
        safeInteger(fieldsOf(decodeCbor(value), 1, 'counter')[0], 'counter'),
      );
    } else {
      inRecord(`federation record ${name}`, () => {
        const fields = fieldsOf(decodeCbor(value), 2, name);
        const round = safeInteger(fields[0], 'round');
        rounds.set(name, { round, bytes: byteString(fields[1], name) });
      });
    }
  }
  for (const [name, { round }] of rounds) {
    if (round > (promised ?? 0))
      throw broken(`federation record ${name} is of round ${round}, and only ${promised ?? 0} was promised`);
  }
  const accepted = rounds.get('accepted');
  if (accepted) {
    inRecord('the round record that was voted for', () => {
      const before = newest?.parameters ?? initialParameters(spec, agreement.hash);
      resolveRecord(accepted.bytes, before, spec, parties);
    });
  }
  return { held, outside };
}

/** As createParties, with every key that a gateway ever had: what is stored outlives a revocation. */
function partiesEver(agreement: Agreement, self: string, roster: Roster): Parties {
  const accepted = createParties(agreement, self, roster);
  const all = accepted.all.map((party) => {
    const keyring = createKeyring(() => roster.keys(party.name), 'sample');
    return { ...party, verifierOf: (keyId: Uint8Array) => keyring.ever(keyId)?.verify };
  });
  const byName = (name: string) => all.find((party) => party.name === name);
  return { ...accepted, all, voters: accepted.voters.map(({ name }) => byName(name)!), byName };
}
