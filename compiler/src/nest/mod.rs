//! The last IR: loops with constant bounds around kernel calls with affine addresses.
//!
//! A [`Program`] is one straight line of [`Step`]s. A step calls a [`Function`], of which there is
//! one for each distinct layer signature, with the places of its operands. No decision is left:
//! the back ends print or walk what stands here, and so do all the same.

mod lower;
mod verify;

use std::fmt;

use resnet_runtime::kernels::{Call, Element};

use crate::entity::entity;
use crate::fuse::FusedId;
use crate::schedule::{PICTURE, Region};

pub use lower::lower;
#[cfg(feature = "train")]
pub(crate) use lower::training::{Training, lower_training};
pub use verify::VerifyError;

/// A loop variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Var {
    /// Part of the batch: as many pictures in each.
    Part,
    /// Picture of the batch, or of a part of it.
    Picture,
    /// Panel of output channels of a convolution.
    Panel,
    /// Output row, or run of joined rows.
    Row,
    /// Channel block, or channel of a planar activation.
    Block,
    /// Group of rows of Winograd tiles, or of channel blocks.
    Group,
    /// Strip of a row of Winograd tiles.
    Strip,
    /// Row of the points of a Winograd tile.
    PointRow,
    /// Point of a row of them.
    Point,
}

impl Var {
    /// Number of variables.
    pub const COUNT: usize = 9;
}

impl fmt::Display for Var {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Part => "part",
            Self::Picture => "picture",
            Self::Panel => "panel",
            Self::Row => "row",
            Self::Block => "block",
            Self::Group => "group",
            Self::Strip => "strip",
            Self::PointRow => "point_row",
            Self::Point => "point",
        })
    }
}

/// A variable that runs from 0 to `extent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Loop {
    /// The variable.
    pub var: Var,
    /// Iterations, at least 1.
    pub extent: usize,
}

/// What an address counts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Base {
    /// The operand of this index.
    Operand(usize),
    /// The scratch of the thread that runs the iteration. What earlier iterations left there is
    /// undefined: each one reads only what it has written. Such elements lie there.
    Scratch(Element),
}

/// A place relative to one of a function's operands or to the scratch, in bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// Where it counts from.
    pub base: Base,
    /// Constant part.
    pub offset: usize,
    /// Distance for each step of a variable.
    pub terms: Vec<(Var, usize)>,
}

/// What a function does.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Statement {
    /// A sequential loop.
    For(Loop, Vec<Statement>),
    /// A kernel call; the addresses are its operands in the catalogue's order.
    Call(Call, Vec<Address>),
}

/// One layer's code, shared by all layers that have the same signature.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Function {
    /// What it computes, for people: operator, shapes, algorithm.
    pub doc: String,
    /// Names of the operands.
    pub operands: Vec<&'static str>,
    /// Loops whose iterations are independent, outermost first; they are collapsed into one range
    /// that the threads divide. Empty: the body runs once.
    pub parallel: Vec<Loop>,
    /// The body.
    pub body: Vec<Statement>,
}

impl Function {
    /// Iterations of the parallel loops together.
    pub fn count(&self) -> usize {
        self.parallel.iter().map(|l| l.extent).product()
    }
}

entity! {
    /// A function of a [`Program`], by its position in [`Program::functions`].
    pub FunctionId, "fn"
}

/// A place that a step hands to its function, in bytes; never in the scratch, which is another one
/// for each thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// Which memory.
    pub region: Region,
    /// Distance from its start.
    pub offset: usize,
    /// What lies there.
    pub element: Element,
}

/// What a step does of its layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// What the layer is there for, or a share of it.
    Main,
    /// The borders of its output.
    Ring,
    /// The points of a Winograd convolution's input.
    Points,
    /// A zero-padding shortcut, written to where the layer adds to it.
    ZeroPad,
    /// A copy of its output to where the caller wants the answer.
    Answer,
}

/// One step of the straight line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The layer that it is of.
    pub layer: FusedId,
    /// What it does of it.
    pub part: Part,
    /// Its code.
    pub function: FunctionId,
    /// The code's operands.
    pub operands: Vec<Place>,
}

/// A network, lowered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The network's name.
    pub name: String,
    /// Pictures a run.
    pub batch: usize,
    /// Elements of the input, for the whole batch.
    pub input_len: usize,
    /// Elements of the output, for the whole batch.
    pub output_len: usize,
    /// Bytes of the arena.
    pub arena_bytes: usize,
    /// Bytes of one thread's scratch; steps have it one after the other.
    pub scratch_bytes: usize,
    /// Bytes of the packed weights.
    pub weights_bytes: usize,
    /// Whether it may change them: a training step does, whose weights are its session's own.
    pub trains: bool,
    /// The layers' names, by [`FusedId`]; for people.
    pub layers: Vec<String>,
    /// One function for each distinct layer signature.
    pub functions: Vec<Function>,
    /// The straight line.
    pub steps: Vec<Step>,
}

impl Program {
    /// The function of an id.
    pub fn function(&self, id: FunctionId) -> &Function {
        &self.functions[id.index()]
    }

    /// What people call a step: the layer's name, and the part if it is not the main one.
    pub fn name_of(&self, step: &Step) -> String {
        let part = match step.part {
            Part::Main => "",
            Part::Ring => ".ring",
            Part::Points => ".points",
            Part::ZeroPad => ".zero_pad",
            Part::Answer => return "output".to_owned(),
        };
        format!("{}{part}", self.layers[step.layer.index()])
    }

    /// Bytes of a region.
    pub fn region_bytes(&self, region: Region) -> usize {
        match region {
            Region::Input => self.input_len * PICTURE.bytes(),
            Region::Output => self.output_len * PICTURE.bytes(),
            Region::Arena => self.arena_bytes,
            Region::Weights => self.weights_bytes,
            Region::Scratch => self.scratch_bytes,
        }
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "program {} (batch {}): input {}, output {}, arena {}, scratch {}, weights {} bytes",
            self.name,
            self.batch,
            self.region_bytes(Region::Input),
            self.region_bytes(Region::Output),
            self.arena_bytes,
            self.scratch_bytes,
            self.weights_bytes
        )?;
        for (index, function) in self.functions.iter().enumerate() {
            writeln!(f, "\n// {}", function.doc)?;
            writeln!(f, "fn{index}({}):", function.operands.join(", "))?;
            let mut depth = 1;
            if !function.parallel.is_empty() {
                let loops: Vec<String> = function.parallel.iter().map(Loop::to_string).collect();
                writeln!(f, "  parallel {}:", loops.join(", "))?;
                depth = 2;
            }
            write_body(f, function, &function.body, depth)?;
        }
        writeln!(f, "\ninfer:")?;
        for step in &self.steps {
            let names = &self.function(step.function).operands;
            let operands: Vec<String> = names
                .iter()
                .zip(&step.operands)
                .map(|(name, place)| format!("{name} = {}[{}]", place.region, place.offset))
                .collect();
            writeln!(f, "  {}({})  // {}", step.function, operands.join(", "), self.name_of(step))?;
        }
        Ok(())
    }
}

impl fmt::Display for Loop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in 0..{}", self.var, self.extent)
    }
}

fn write_body(
    f: &mut fmt::Formatter<'_>,
    function: &Function,
    body: &[Statement],
    depth: usize,
) -> fmt::Result {
    let indent = "  ".repeat(depth);
    for statement in body {
        match statement {
            Statement::For(each, body) => {
                writeln!(f, "{indent}for {each}:")?;
                write_body(f, function, body, depth + 1)?;
            }
            Statement::Call(call, addresses) => {
                let operands: Vec<String> = call
                    .names()
                    .iter()
                    .zip(addresses)
                    .map(|(name, address)| format!("{name} = {}", show_address(function, address)))
                    .collect();
                writeln!(f, "{indent}{}({})", call.name(), operands.join(", "))?;
                writeln!(f, "{indent}  // {:?}", call)?;
            }
        }
    }
    Ok(())
}

fn show_address(function: &Function, address: &Address) -> String {
    let mut text = match address.base {
        Base::Operand(operand) => function.operands[operand].to_owned(),
        Base::Scratch(_) => Region::Scratch.to_string(),
    };
    if address.offset != 0 {
        text += &format!(" + {}", address.offset);
    }
    for (var, distance) in &address.terms {
        text += &format!(" + {distance} {var}");
    }
    text
}
