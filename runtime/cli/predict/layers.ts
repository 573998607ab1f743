import type { ModelSpec } from '../../core/learning/model.ts';

export interface LayersFormat {
  toLayersModel(
    spec: ModelSpec,
    parameters: Float64Array,
  ): { readonly modelJson: object; readonly weights: Uint8Array };
  fromLayersModel(
    modelJson: object,
    weights: Uint8Array,
  ): { readonly spec: ModelSpec; readonly parameters: Float64Array };
}

/** The writer and reader of TensorFlow.js layers models. */
export async function layersFormat(): Promise<LayersFormat> {
  const place = '../../core/learning/layers-format.ts';
  return (await import(place)) as LayersFormat;
}
