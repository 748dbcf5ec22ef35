//! Each thread's scratch, in a program that no table makes.

use std::num::NonZeroUsize;
use std::sync::Arc;

use resnet_compiler::emit::interpret::Interpreter;
use resnet_compiler::fuse::FusedId;
use resnet_compiler::nest::{
    Address, Base, Function, FunctionId, Loop, Part, Place, Program, Statement, Step, Var,
};
use resnet_compiler::schedule::Region;
use resnet_runtime::kernels::{Call, CopyParams, Element, Isa};
use resnet_runtime::memory::Buffer;
use resnet_runtime::session::{Answer, Code, Info, Loaded, Network, Variant};
use resnet_runtime::threads::Pool;
use resnet_runtime::weights::Packed;

const ROWS: usize = 500;
const COLUMNS: usize = 100;
/// Where in the scratch the second step keeps its row.
const SECOND: usize = 32;
const FLOAT: usize = size_of::<f32>();

fn row(var: Var, base: Base, offset: usize) -> Address {
    let terms = match base {
        Base::Operand(_) => vec![(var, COLUMNS * FLOAT)],
        Base::Scratch(_) => vec![],
    };
    Address { base, offset: offset * FLOAT, terms }
}

/// Copies rows to the thread's scratch and from there to `y`.
fn function(offset: usize) -> Function {
    let copy = Call::CopyPlanar(CopyParams {
        channels: 1,
        rows: 1,
        columns: COLUMNS,
        x_row: COLUMNS,
        y_row: COLUMNS,
        plane: COLUMNS,
    });
    let [x, y] = [0, 1].map(|operand| row(Var::Row, Base::Operand(operand), 0));
    let scratch = row(Var::Row, Base::Scratch(Element::F32), offset);
    Function {
        doc: format!("rows by way of scratch[{offset}]"),
        operands: vec!["x", "y"],
        parallel: vec![Loop { var: Var::Row, extent: ROWS }],
        body: vec![
            Statement::Call(copy, vec![x, scratch.clone()]),
            Statement::Call(copy, vec![scratch, y]),
        ],
    }
}

fn step(layer: u32, function: u32, x: Region, y: Region) -> Step {
    let place = |region| Place { region, offset: 0, element: Element::F32 };
    Step {
        layer: FusedId(layer),
        part: Part::Main,
        function: FunctionId(function),
        operands: vec![place(x), place(y)],
    }
}

fn program() -> Program {
    Program {
        name: "rows".into(),
        batch: 1,
        input_len: ROWS * COLUMNS,
        output_len: ROWS * COLUMNS,
        arena_bytes: ROWS * COLUMNS * FLOAT,
        scratch_bytes: (SECOND + COLUMNS) * FLOAT,
        weights_bytes: 0,
        trains: false,
        layers: vec!["first".to_owned(), "second".to_owned()],
        functions: vec![function(0), function(SECOND)],
        steps: vec![
            step(0, 0, Region::Input, Region::Arena),
            step(1, 1, Region::Arena, Region::Output),
        ],
    }
}

fn code(isa: Isa) -> Vec<(&'static str, Arc<dyn Code>)> {
    let table = isa.table().unwrap();
    vec![
        ("interpreter", Arc::new(Interpreter::new(program(), table).unwrap())),
        #[cfg(feature = "jit")]
        ("JIT", Arc::new(resnet_compiler::emit::jit::Jit::compile(&program(), table).unwrap())),
    ]
}

#[test]
fn every_thread_has_a_scratch_of_its_own() {
    let info = Info {
        name: "rows".into(),
        input: [1, ROWS, COLUMNS],
        outputs: ROWS * COLUMNS,
        answer: Answer::Features,
        features: Vec::new().into(),
        depth: 0,
        params: 0,
        macs: 0,
        arena_bytes: 0,
    };
    let picture: Vec<f32> = (0..ROWS * COLUMNS).map(|i| i as f32).collect();
    let pools = [2, 5].map(|threads| Pool::new(NonZeroUsize::new(threads).unwrap()).unwrap());
    for isa in Isa::available() {
        for (name, code) in code(isa) {
            let Program { arena_bytes, scratch_bytes, .. } = program();
            let variant = Variant { batch: 1, arena_bytes, scratch_bytes, code };
            let weights = Packed::Owned(Buffer::zeroed(0).unwrap());
            // SAFETY: both back ends verify the program, whose lengths these are; it has no weights.
            let network = unsafe { Loaded::new(info.clone(), vec![variant], true, weights) };
            for pool in [None, Some(&pools[0]), Some(&pools[1])] {
                let mut session = network.session_in(pool).unwrap();
                for _ in 0..20 {
                    assert_eq!(session.run(&picture).unwrap(), picture, "{name}, {isa}, {pool:?}");
                }
            }
        }
    }
}

#[test]
fn the_scratch_has_an_end() {
    assert_eq!(program().verify(), Ok(()));
    let short = Program { scratch_bytes: (SECOND + COLUMNS) * FLOAT - 1, ..program() };
    let error = short.verify().unwrap_err().to_string();
    assert!(error.contains("`second`, copy_planar: `y` ends at 528 in scratch of 527"), "{error}");
}

#[test]
fn no_operand_lies_in_the_scratch() {
    let mut program = program();
    program.steps[1].operands[0].region = Region::Scratch;
    let error = program.verify().unwrap_err().to_string();
    assert!(error.contains("the scratch is not the same for all threads"), "{error}");
}

#[test]
fn what_a_call_writes_is_no_other_of_its_operands() {
    let mut program = program();
    program.steps[1] = step(1, 1, Region::Output, Region::Output);
    // By way of the scratch that is nothing the verifier could know; directly it is.
    assert_eq!(program.verify(), Ok(()));
    let Statement::Call(_, addresses) = &mut program.functions[1].body[0] else { unreachable!() };
    addresses[1] = row(Var::Row, Base::Operand(1), 0);
    let error = program.verify().unwrap_err().to_string();
    assert!(error.contains("`second`, copy_planar: `y` overlaps `x`"), "{error}");
}

#[test]
fn a_program_says_what_it_needs_of_the_scratch() {
    let text = program().to_string();
    assert!(text.contains("arena 200000, scratch 528, weights 0 bytes"), "{text}");
    assert!(text.contains("copy_planar(x = scratch + 128, y = y + 400 row)"), "{text}");
}
