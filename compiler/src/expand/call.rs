//! The invocation: what stands between the brackets of `resnet!`.

use proc_macro2::{Delimiter, Ident, Span, TokenStream, TokenTree};

use resnet_runtime::kernels::{Precision, UnknownPrecision};

use super::error::Error;
use crate::schedule::Wishes;

/// One network.
pub(super) struct Item {
    /// What the user wrote above it, but for `#[resnet(...)]`.
    pub(super) attributes: TokenStream,
    pub(super) visibility: TokenStream,
    pub(super) name: Ident,
    pub(super) table: Table,
    /// The file whose weights the type carries.
    pub(super) weights: Option<Text>,
    pub(super) wishes: Wishes,
    /// Where the bytes stand that the network may need.
    pub(super) memory: Option<Span>,
    /// The precision, where one is asked for, and where it stands.
    pub(super) precision: Option<(Precision, Span)>,
    /// The file with a saved schedule.
    pub(super) schedule: Option<Text>,
    pub(super) budgets: Vec<Budget>,
    /// The options that are given.
    options: Vec<String>,
}

pub(super) enum Table {
    /// `= "models/x.yaml"`
    File(Text),
    /// `: 3x32x32 => { ... }`
    Inline { input: TokenStream, body: TokenStream },
}

/// A string literal.
pub(super) struct Text {
    pub(super) value: String,
    pub(super) span: Span,
}

/// What a network may have at most.
pub(super) struct Budget {
    pub(super) field: String,
    pub(super) most: u64,
    pub(super) span: Span,
}

type Result<T> = std::result::Result<T, Error>;

/// The crate's path, the items, and what could not be read.
pub(super) fn parse(input: TokenStream) -> (TokenStream, Vec<Item>, Vec<Error>) {
    let mut tokens = Cursor::new(input);
    let krate = match tokens.next() {
        Some(TokenTree::Group(group)) => group.stream(),
        _ => TokenStream::new(),
    };
    let (mut items, mut errors) = (Vec::new(), Vec::new());
    while tokens.peek().is_some() {
        match item(&mut tokens, &mut errors) {
            Ok(item) => items.push(item),
            Err(error) => {
                errors.push(error);
                tokens.skip_item();
            }
        }
    }
    (krate, items, errors)
}

/// `#[attributes] pub Name = "file.yaml", weights = "file.safetensors";` or
/// `#[attributes] pub Name: 3x32x32, weights = "file.safetensors" => { ... }`
fn item(tokens: &mut Cursor, errors: &mut Vec<Error>) -> Result<Item> {
    let mut item = Item {
        attributes: TokenStream::new(),
        visibility: TokenStream::new(),
        name: Ident::new("_unnamed", Span::call_site()),
        table: Table::Inline { input: TokenStream::new(), body: TokenStream::new() },
        weights: None,
        wishes: Wishes::default(),
        memory: None,
        precision: None,
        schedule: None,
        budgets: Vec::new(),
        options: Vec::new(),
    };
    while tokens.sees('#') {
        let hash = tokens.next();
        match tokens.next() {
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Bracket => {
                match own_attribute(group.stream()) {
                    Some(options) => self::options(options, &mut item, errors),
                    None => item.attributes.extend(hash.into_iter().chain([group.into()])),
                }
            }
            _ => return Err(tokens.expected_before("an attribute")),
        }
    }
    if let Some(TokenTree::Ident(word)) = tokens.peek()
        && word == "pub"
    {
        item.visibility.extend(tokens.next());
        if let Some(TokenTree::Group(group)) = tokens.peek()
            && group.delimiter() == Delimiter::Parenthesis
        {
            item.visibility.extend(tokens.next());
        }
    }
    let Some(TokenTree::Ident(name)) = tokens.peek().cloned() else {
        return Err(
            tokens.expected("a type's name, as in `pub ResNet18 = \"models/resnet18.yaml\";`")
        );
    };
    tokens.next();
    item.name = name;
    if tokens.eat('=') {
        item.table = Table::File(tokens.string("the path of a table")?);
        weights(tokens, &mut item)?;
        if tokens.peek().is_some() && !tokens.eat(';') {
            return Err(tokens.expected("`;` or `, weights = \"...\"`"));
        }
        return Ok(item);
    }
    if !tokens.eat(':') {
        return Err(tokens.expected("`= \"table.yaml\"` or `: 3x32x32 => { rows }`"));
    }
    let mut input = TokenStream::new();
    while !tokens.sees(',') && !tokens.sees('=') && !tokens.sees_braces() {
        match tokens.next() {
            Some(token) => input.extend([token]),
            None => return Err(tokens.expected("`=> { rows }`")),
        }
    }
    weights(tokens, &mut item)?;
    if !(tokens.eat('=') && tokens.eat('>')) {
        return Err(tokens.expected("`=> { rows }`"));
    }
    match tokens.next() {
        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
            item.table = Table::Inline { input, body: group.stream() };
        }
        _ => return Err(tokens.expected_before("rows between `{` and `}`")),
    }
    tokens.eat(';');
    Ok(item)
}

/// `, weights = "file.safetensors"`
fn weights(tokens: &mut Cursor, item: &mut Item) -> Result<()> {
    if !tokens.eat(',') {
        return Ok(());
    }
    match tokens.peek() {
        Some(TokenTree::Ident(word)) if word == "weights" => tokens.next(),
        _ => return Err(tokens.expected("`weights = \"...\"`")),
    };
    if !tokens.eat('=') {
        return Err(tokens.expected("`= \"...\"`"));
    }
    item.weights = Some(tokens.string("the path of a .safetensors file")?);
    Ok(())
}

/// What stands between the parentheses of `#[resnet(...)]`, if it is that attribute.
fn own_attribute(attribute: TokenStream) -> Option<TokenStream> {
    let mut tokens = Cursor::new(attribute);
    match (tokens.next(), tokens.next()) {
        (Some(TokenTree::Ident(word)), Some(TokenTree::Group(group))) if word == "resnet" => {
            Some(group.stream())
        }
        _ => None,
    }
}

/// `batch = 8, exact = true, memory = 64e6, precision = "bf16", params = 12_000_000, macs = 2e9, arena_bytes = 8_000_000`
fn options(options: TokenStream, item: &mut Item, errors: &mut Vec<Error>) {
    let mut tokens = Cursor::new(options);
    while tokens.peek().is_some() {
        if let Err(error) = option(&mut tokens, item) {
            errors.push(error);
            return;
        }
    }
}

fn option(tokens: &mut Cursor, item: &mut Item) -> Result<()> {
    const OPTIONS: [&str; 8] =
        ["batch", "exact", "memory", "precision", "schedule", "params", "macs", "arena_bytes"];
    let known = "`batch`, `exact`, `memory`, `precision`, `schedule`, and the budgets `params`, \
                 `macs` and `arena_bytes`";
    let Some(TokenTree::Ident(field)) = tokens.peek().cloned() else {
        return Err(tokens.expected(known));
    };
    let name = field.to_string();
    if !OPTIONS.contains(&name.as_str()) {
        let message = format!("unknown option `{name}`; there are {known}");
        return Err(Error::new((field.span(), field.span()), message));
    }
    if item.options.contains(&name) {
        let message = format!("the option `{name}` is given twice; leave one out");
        return Err(Error::new((field.span(), field.span()), message));
    }
    item.options.push(name.clone());
    tokens.next();
    if !tokens.eat('=') {
        return Err(tokens.expected("`=` and a value"));
    }
    if name == "schedule" {
        item.schedule = Some(tokens.string("the path of a schedule that `resnet tune` saved")?);
        return tokens.comma();
    }
    if name == "precision" {
        let word = tokens.string("\"f32\" or \"bf16\"")?;
        let unknown =
            |error: UnknownPrecision| Error::new((word.span, word.span), error.to_string());
        item.precision = Some((word.value.parse().map_err(unknown)?, word.span));
        return tokens.comma();
    }
    if name == "exact" {
        item.wishes.exact = match tokens.peek().map(ToString::to_string).as_deref() {
            Some("true") => true,
            Some("false") => false,
            _ => return Err(tokens.expected("`true` or `false`")),
        };
        tokens.next();
        return tokens.comma();
    }
    let number = match tokens.peek() {
        Some(TokenTree::Literal(literal)) => count(&literal.to_string()),
        _ => None,
    };
    let Some(number) = number else {
        return Err(tokens.expected(match name.as_str() {
            "memory" => "a number of bytes such as 65_536_000 or 64e6",
            _ => "a whole number such as 8 or 2e9",
        }));
    };
    let span = tokens.next().map_or_else(Span::call_site, |token| token.span());
    let size = usize::try_from(number).unwrap_or(usize::MAX);
    match name.as_str() {
        "batch" if number == 0 => {
            return Err(Error::new((span, span), "a batch has at least 1 picture".to_owned()));
        }
        "batch" => item.wishes.batch = size,
        "memory" => (item.wishes.memory, item.memory) = (Some(size), Some(span)),
        _ => item.budgets.push(Budget { field: name, most: number, span }),
    }
    tokens.comma()
}

/// A whole number: digits, or a float that is one.
fn count(text: &str) -> Option<u64> {
    let text = text.replace('_', "");
    let float = || text.parse::<f64>().ok().filter(|n| *n >= 0.0 && *n < 1e18 && n.fract() == 0.0);
    text.parse().ok().or_else(|| float().map(|number| number as u64))
}

struct Cursor {
    tokens: Vec<TokenTree>,
    at: usize,
}

impl Cursor {
    /// Looks through the groups without brackets that `macro_rules` variables leave.
    fn new(input: TokenStream) -> Self {
        fn add(input: TokenStream, tokens: &mut Vec<TokenTree>) {
            for token in input {
                match token {
                    TokenTree::Group(group) if group.delimiter() == Delimiter::None => {
                        add(group.stream(), tokens);
                    }
                    token => tokens.push(token),
                }
            }
        }
        let mut tokens = Vec::new();
        add(input, &mut tokens);
        Self { tokens, at: 0 }
    }

    fn peek(&self) -> Option<&TokenTree> {
        self.tokens.get(self.at)
    }

    fn next(&mut self) -> Option<TokenTree> {
        let token = self.peek().cloned();
        self.at += usize::from(token.is_some());
        token
    }

    fn sees(&self, mark: char) -> bool {
        matches!(self.peek(), Some(TokenTree::Punct(punct)) if punct.as_char() == mark)
    }

    fn sees_braces(&self) -> bool {
        matches!(self.peek(), Some(TokenTree::Group(g)) if g.delimiter() == Delimiter::Brace)
    }

    fn eat(&mut self, mark: char) -> bool {
        let sees = self.sees(mark);
        self.at += usize::from(sees);
        sees
    }

    /// A comma, or the end.
    fn comma(&mut self) -> Result<()> {
        if self.peek().is_some() && !self.eat(',') {
            return Err(self.expected("`,`"));
        }
        Ok(())
    }

    fn string(&mut self, what: &str) -> Result<Text> {
        let parsed = match self.peek() {
            Some(TokenTree::Literal(literal)) => {
                syn::parse_str::<syn::LitStr>(&literal.to_string()).ok()
            }
            _ => None,
        };
        let Some(parsed) = parsed else {
            return Err(self.expected(&format!("{what}, between quotes")));
        };
        let span = self.next().map_or_else(Span::call_site, |token| token.span());
        Ok(Text { value: parsed.value(), span })
    }

    /// The complaint that something else was expected here.
    fn expected(&self, what: &str) -> Error {
        match self.peek() {
            Some(token) => {
                let found = match token {
                    TokenTree::Group(group) => match group.delimiter() {
                        Delimiter::Parenthesis => "(".to_owned(),
                        Delimiter::Brace => "{".to_owned(),
                        Delimiter::Bracket => "[".to_owned(),
                        Delimiter::None => group.to_string(),
                    },
                    token => token.to_string(),
                };
                let span = match token {
                    TokenTree::Group(group) => group.span_open(),
                    token => token.span(),
                };
                Error::new((span, span), format!("expected {what}, found `{found}`"))
            }
            None => self.expected_before(what),
        }
    }

    /// The same, at the token that was taken last.
    fn expected_before(&self, what: &str) -> Error {
        let last = self.tokens.get(self.at.max(1) - 1);
        let span = last.map_or_else(Span::call_site, TokenTree::span);
        Error::new((span, span), format!("expected {what} after this"))
    }

    /// Goes on behind the next `;` or braces.
    fn skip_item(&mut self) {
        while self.peek().is_some() {
            let braces = self.sees_braces();
            if self.eat(';') {
                return;
            }
            self.at += 1;
            if braces {
                self.eat(';');
                return;
            }
        }
    }
}
