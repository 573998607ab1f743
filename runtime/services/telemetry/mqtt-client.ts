/** The MQTT client, by name: imported on demand itself, the package would lose its names in the bundle. */
export { connect } from 'mqtt';
