//! The compiler for a page in a browser: its doors as a module of WebAssembly.
//!
//! A caller asks [`input`] for room, writes there what a function is to read, calls the function, and finds what it says
//! from [`output`] on, [`output_len`] bytes. Where a function is `false`, that is why, as text. Nothing else is shared, so no
//! pointer comes in, and nothing here is unsafe but the names that the linker keeps.

mod check;
mod trained;

use std::cell::RefCell;

use resnet_compiler::zoo::ZOO;
use resnet_report::page;
use serde::Serialize;

use self::trained::Trained;

/// What lasts from call to call.
struct State {
    input: Vec<u8>,
    output: Vec<u8>,
    trained: Option<Trained>,
}

thread_local! {
    static STATE: RefCell<State> =
        const { RefCell::new(State { input: Vec::new(), output: Vec::new(), trained: None }) };
}

/// What a function says: bytes, or why there are none.
type Said = Result<Vec<u8>, String>;

fn say(function: impl FnOnce(Vec<u8>, &mut Option<Trained>) -> Said) -> bool {
    let (input, mut trained) =
        STATE.with_borrow_mut(|state| (std::mem::take(&mut state.input), state.trained.take()));
    let said = function(input, &mut trained);
    STATE.with_borrow_mut(|state| {
        state.trained = trained;
        let done = said.is_ok();
        state.output = said.unwrap_or_else(String::into_bytes);
        done
    })
}

fn json(value: &impl Serialize) -> Said {
    serde_json::to_vec(value).map_err(|error| error.to_string())
}

fn text(bytes: Vec<u8>) -> Result<String, String> {
    String::from_utf8(bytes).map_err(|error| format!("the table is no text: {error}"))
}

/// Room for so many bytes, which the next function reads.
#[unsafe(no_mangle)]
pub extern "C" fn input(len: usize) -> *mut u8 {
    STATE.with_borrow_mut(|state| {
        state.input.clear();
        state.input.resize(len, 0);
        state.input.as_mut_ptr()
    })
}

/// Where that begins which was said last.
#[unsafe(no_mangle)]
pub extern "C" fn output() -> *const u8 {
    STATE.with_borrow(|state| state.output.as_ptr())
}

/// How many bytes it has.
#[unsafe(no_mangle)]
pub extern "C" fn output_len() -> usize {
    STATE.with_borrow(|state| state.output.len())
}

/// To be called first: what a panic says can be read from [`output`] on once the module has stopped.
#[unsafe(no_mangle)]
pub extern "C" fn start() {
    std::panic::set_hook(Box::new(|panic| {
        STATE.with_borrow_mut(|state| state.output = panic.to_string().into_bytes());
    }));
}

/// Says the networks of the zoo: `[[name, table], ...]`.
#[unsafe(no_mangle)]
pub extern "C" fn zoo() -> bool {
    say(|_, _| json(&ZOO))
}

/// Says the style sheet of reports.
#[unsafe(no_mangle)]
pub extern "C" fn style() -> bool {
    say(|_, _| Ok(page::style().into_bytes()))
}

/// Reads a table; says what [`check::Checked`] has.
#[unsafe(no_mangle)]
pub extern "C" fn check() -> bool {
    say(|input, _| json(&check::check(&text(input)?)))
}

/// Reads how many bytes a table has, in four, little end first, the table, and its weights; says what
/// [`trained::About`] has.
#[unsafe(no_mangle)]
pub extern "C" fn open() -> bool {
    say(|mut input, trained| {
        let short = || "a length, a table and its weights are wanted".to_owned();
        let (len, _) = input.split_first_chunk::<4>().ok_or_else(short)?;
        let end = 4_usize.saturating_add(u32::from_le_bytes(*len) as usize);
        if input.len() < end {
            return Err(short());
        }
        let weights = input.split_off(end);
        let opened = Trained::open(&text(input.split_off(4))?, weights)?;
        let about = json(&opened.about());
        *trained = Some(opened);
        about
    })
}

/// Reads a picture's file; says what [`trained::Answer`] has of the network that is open.
#[unsafe(no_mangle)]
pub extern "C" fn classify() -> bool {
    say(|input, trained| json(&of(trained)?.classify(&input)?))
}

/// Says what an operator, by its place among [`trained::About`]'s, makes of the last picture: channels, rows and columns as `u32`, and the values as
/// `f32`, little end first.
#[unsafe(no_mangle)]
pub extern "C" fn features(operator: usize) -> bool {
    say(|_, trained| {
        let (shape, values) = of(trained)?.features(operator)?;
        let shape = shape.into_iter().flat_map(|n| (n as u32).to_le_bytes());
        Ok(shape.chain(values.iter().flat_map(|value| value.to_le_bytes())).collect())
    })
}

fn of(trained: &mut Option<Trained>) -> Result<&mut Trained, String> {
    trained.as_mut().ok_or_else(|| "no network is open".to_owned())
}
