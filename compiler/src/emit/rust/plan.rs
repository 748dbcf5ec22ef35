//! What is constant about a network, its weights and pictures.

use proc_macro2::{Literal, TokenStream};
use quote::quote;
use resnet_runtime::kernels::{ConvShape, PanelFormat, Panels};
use resnet_runtime::picture::{Preprocess, Resize};
use resnet_runtime::session::{Feature, Info};
use resnet_runtime::weights::{
    Content, ConvSource, Name, NormTensors, QuantisedSource, Recipe, Slice, TensorSpec, WeightsPlan,
};

use super::code::literal;
use super::number;

pub(super) fn info(info: &Info) -> TokenStream {
    let Info { name, input, outputs, answer, features, depth, params, macs, arena_bytes } = info;
    let input = input.map(number);
    let [outputs, depth, arena_bytes] = [*outputs, *depth, *arena_bytes].map(number);
    let answer = literal(answer);
    let features = features.iter().map(|Feature { name, shape, offset }| {
        let (shape, offset) = (shape.map(number), number(*offset));
        quote! {
            rt::Feature { name: rt::Borrowed(#name), shape: [#(#shape),*], offset: #offset }
        }
    });
    let [params, macs] = [params, macs].map(|&count| Literal::u64_unsuffixed(count));
    quote! {
        rt::Info {
            name: rt::Borrowed(#name),
            input: [#(#input),*],
            outputs: #outputs,
            answer: rt::Answer::#answer,
            features: rt::Borrowed(&[#(#features),*]),
            depth: #depth,
            params: #params,
            macs: #macs,
            arena_bytes: #arena_bytes,
        }
    }
}

pub(super) fn weights(plan: &WeightsPlan) -> TokenStream {
    let WeightsPlan { network, table, tensors, recipes, bytes } = plan;
    let table = Literal::u64_unsuffixed(*table);
    let tensors = tensors.iter().map(tensor);
    let recipes = recipes.iter().map(recipe);
    let bytes = number(*bytes);
    quote! {
        rt::WeightsPlan {
            network: rt::Borrowed(#network),
            table: #table,
            tensors: rt::Borrowed(&[#(#tensors),*]),
            recipes: rt::Borrowed(&[#(#recipes),*]),
            bytes: #bytes,
        }
    }
}

fn tensor(tensor: &TensorSpec) -> TokenStream {
    let TensorSpec { name, shape, stored, init } = tensor;
    let stored = literal(stored);
    let shape = shape.iter().map(|&extent| number(extent));
    let init = literal(init);
    quote! {
        rt::TensorSpec {
            name: rt::Borrowed(#name),
            shape: rt::Borrowed(&[#(#shape),*]),
            stored: rt::Stored::#stored,
            init: rt::Init::#init,
        }
    }
}

fn recipe(recipe: &Recipe) -> TokenStream {
    // Every field is named here, so that a new one cannot be forgotten.
    let Recipe { content, offset } = recipe;
    let content = match content {
        Content::Conv { source, panels } => {
            let (source, panels) = (self::source(source), self::panels(panels));
            quote!(Conv { source: #source, panels: #panels })
        }
        Content::Quantised { source, panels } => {
            let QuantisedSource { weight, input, residual, output, activation } = source;
            let name =
                |name: &Option<Name>| option(name.as_ref().map(|name| quote!(rt::Borrowed(#name))));
            let (residual, output, panels) = (name(residual), name(output), self::panels(panels));
            let activation = literal(activation);
            quote!(Quantised {
                source: rt::QuantisedSource {
                    weight: rt::Borrowed(#weight),
                    input: rt::Borrowed(#input),
                    residual: #residual,
                    output: #output,
                    activation: rt::Activation::#activation,
                },
                panels: #panels,
            })
        }
        Content::Scale { weight } => quote!(Scale { weight: rt::Borrowed(#weight) }),
        Content::Norm { norm, channels } => {
            let (norm, channels) = (self::norm(norm), number(*channels));
            quote!(Norm { norm: #norm, channels: #channels })
        }
        Content::Vector { weight, channels } => {
            let channels = number(*channels);
            quote!(Vector { weight: rt::Borrowed(#weight), channels: #channels })
        }
    };
    let offset = number(*offset);
    quote!(rt::Recipe { content: rt::Content::#content, offset: #offset })
}

fn source(source: &ConvSource) -> TokenStream {
    let ConvSource { weight, bias, norm, standardise, slice } = source;
    let bias = option(bias.as_ref().map(|bias| quote!(rt::Borrowed(#bias))));
    let norm = option(norm.as_ref().map(self::norm));
    let standardise = option(standardise.map(|epsilon| {
        let epsilon = Literal::f64_unsuffixed(epsilon);
        quote!(#epsilon)
    }));
    let slice = option(slice.map(|Slice { of, at }| {
        let [of, at] = [of, at].map(|pair| pair.map(number));
        quote!(rt::Slice { of: [#(#of),*], at: [#(#at),*] })
    }));
    quote! {
        rt::ConvSource {
            weight: rt::Borrowed(#weight),
            bias: #bias,
            norm: #norm,
            standardise: #standardise,
            slice: #slice,
        }
    }
}

fn panels(panels: &Panels) -> TokenStream {
    let Panels { shape, format } = panels;
    let ConvShape { out_channels, in_channels, groups, kernel_rows, kernel_columns } = shape;
    let numbers = [out_channels, in_channels, groups, kernel_rows, kernel_columns];
    let [out_channels, in_channels, groups, kernel_rows, kernel_columns] =
        numbers.map(|&value| number(value));
    let PanelFormat { planar, panel_blocks, in_blocks, in_block_step, transform, element } = format;
    let [panel_blocks, in_blocks, in_block_step] =
        [panel_blocks, in_blocks, in_block_step].map(|&value| number(value));
    let (transform, element) = (literal(transform), literal(element));
    quote! {
        rt::Panels {
            shape: rt::ConvShape {
                out_channels: #out_channels,
                in_channels: #in_channels,
                groups: #groups,
                kernel_rows: #kernel_rows,
                kernel_columns: #kernel_columns,
            },
            format: rt::PanelFormat {
                planar: #planar,
                panel_blocks: #panel_blocks,
                in_blocks: #in_blocks,
                in_block_step: #in_block_step,
                transform: rt::Transform::#transform,
                element: rt::Element::#element,
            },
        }
    }
}

fn norm(norm: &NormTensors) -> TokenStream {
    let NormTensors { weight, bias, mean, variance, epsilon } = norm;
    let epsilon = Literal::f64_unsuffixed(*epsilon);
    quote! {
        rt::NormTensors {
            weight: rt::Borrowed(#weight),
            bias: rt::Borrowed(#bias),
            mean: rt::Borrowed(#mean),
            variance: rt::Borrowed(#variance),
            epsilon: #epsilon,
        }
    }
}

pub(super) fn preprocess(preprocess: &Preprocess) -> TokenStream {
    let Preprocess { resize, filter, antialias, crop, mean, std, channels } = preprocess;
    let resize = option(resize.map(|resize| match resize {
        Resize::Shorter(side) => {
            let side = number(side);
            quote!(rt::Resize::Shorter(#side))
        }
        Resize::Exact(height, width) => {
            let (height, width) = (number(height), number(width));
            quote!(rt::Resize::Exact(#height, #width))
        }
    }));
    let filter = literal(filter);
    let channels = literal(channels);
    let crop = option(crop.map(|(height, width)| {
        let (height, width) = (number(height), number(width));
        quote!((#height, #width))
    }));
    let [mean, std] = [mean, std].map(|values| {
        let values = values.iter().map(|value| literal(value));
        quote!(::std::vec![#(#values),*])
    });
    quote! {
        rt::Preprocess {
            resize: #resize,
            filter: rt::Filter::#filter,
            antialias: #antialias,
            crop: #crop,
            mean: #mean,
            std: #std,
            channels: rt::Channels::#channels,
        }
    }
}

fn option(value: Option<TokenStream>) -> TokenStream {
    match value {
        Some(value) => quote!(Some(#value)),
        None => quote!(None),
    }
}
