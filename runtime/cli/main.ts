#!/usr/bin/env node
/** The program `kosmos`: one file a command, each loaded only when it is asked for. */
import { keepHeapSmall } from './memory.ts';
import { projectVersion } from './project.ts';
import { processIo } from './terminal/io.ts';
import { runProgram } from './terminal/program.ts';

async function loadDaemon() {
  keepHeapSmall();
  return (await import('./run.ts')).run;
}

// Not awaited at the top level: a chunk of the bundle that leads back here would wait for ever.
runProgram(
  {
    name: 'kosmos',
    summary: 'gateway for collaborative predictive maintenance',
    version: projectVersion(),
    commands: [
      {
        name: 'demo',
        summary: 'try everything on this machine: gateways of several companies on loopback',
        load: async () => (await import('./demo.ts')).demo,
      },
      { name: 'run', summary: 'run the daemon of one gateway until SIGTERM', load: loadDaemon },
      {
        name: 'status',
        summary: 'show how a running gateway is doing',
        load: async () => (await import('./status.ts')).status,
      },
      {
        name: 'predict',
        summary: 'predict for machines whose rows are in a file',
        load: async () => (await import('./predict.ts')).predict,
      },
      {
        name: 'privacy',
        summary: 'show what was spent of the privacy budget, and what is left',
        load: async () => (await import('./privacy.ts')).privacy,
      },
      {
        name: 'privacy open',
        summary: 'open to an auditor what the log commits to about a round',
        load: async () => (await import('./privacy.ts')).privacyOpen,
      },
      {
        name: 'privacy check',
        summary: 'check what kosmos privacy open has written',
        load: async () => (await import('./privacy.ts')).privacyCheck,
      },
      {
        name: 'verify',
        summary: 'check a gateway’s directory offline',
        load: async () => (await import('./verify.ts')).verify,
      },
      {
        name: 'export',
        summary: 'hand out samples with what proves them',
        load: async () => (await import('./export.ts')).exportCommand,
      },
      {
        name: 'recover',
        summary: 'bring a restored directory up to what was published',
        load: async () => (await import('./recover.ts')).recover,
      },
      {
        name: 'init',
        summary: 'make a gateway: its directory, keys and card',
        load: async () => (await import('./init.ts')).init,
      },
      {
        name: 'agreement draft',
        summary: 'write an agreement from the cards of all gateways',
        load: async () => (await import('./agreement.ts')).agreementDraft,
      },
      {
        name: 'agreement sign',
        summary: 'sign an agreement with a company’s key',
        load: async () => (await import('./agreement.ts')).agreementSign,
      },
      {
        name: 'agreement show',
        summary: 'check an agreement and say who has signed it',
        load: async () => (await import('./agreement.ts')).agreementShow,
      },
      {
        name: 'keys list',
        summary: 'show which keys gateways have and had',
        load: async () => (await import('./keys.ts')).keysList,
      },
      {
        name: 'keys rotate',
        summary: 'give a gateway that does not run new keys',
        load: async () => (await import('./keys.ts')).keysRotate,
      },
      {
        name: 'keys revoke',
        summary: 'say that a key counts no more',
        load: async () => (await import('./keys.ts')).keysRevoke,
      },
      {
        name: 'keys accept',
        summary: 'take in what others say of their keys',
        load: async () => (await import('./keys.ts')).keysAccept,
      },
      {
        name: 'maintenance add',
        summary: 'enter a fault, a failure or maintenance into the log',
        load: async () => (await import('./maintenance.ts')).maintenanceAdd,
      },
      {
        name: 'config check',
        summary: 'judge a configuration: every fault at once',
        load: async () => (await import('./config.ts')).configCheck,
      },
      {
        name: 'config doc',
        summary: 'print every key of a configuration',
        load: async () => (await import('./config.ts')).configDoc,
      },
      {
        name: 'drivers',
        summary: 'list the drivers and their settings',
        load: async () => (await import('./drivers.ts')).drivers,
      },
      {
        name: 'doctor',
        summary: 'say which parts this machine has',
        load: async () => (await import('./doctor.ts')).doctor,
      },
    ],
  },
  process.argv.slice(2),
  processIo(),
).then((code) => {
  process.exitCode = code;
});
