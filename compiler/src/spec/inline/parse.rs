//! From tokens to the tree.

use proc_macro2::{Delimiter, Group, Spacing, Span as TokenSpan, TokenStream, TokenTree};

use super::{Kind, Piece};
use crate::diagnostics::{Diagnostic, Diagnostics, Source, Span, Spanned};
use crate::spec::schema::Operation;
use crate::spec::tree::{Node, abbreviate};

/// Tokens, copied into a text.
#[derive(Default)]
pub(super) struct Transcript {
    pub(super) text: String,
    pub(super) pieces: Vec<Piece>,
}

impl Transcript {
    /// Adds a piece that is shown as `shown` and means `text`.
    fn push(&mut self, kind: Kind, shown: &str, text: String, token: TokenSpan) {
        let start = self.text.len();
        self.text.push_str(shown);
        let span = Span::new(start..self.text.len());
        self.text.push(if matches!(shown, ";" | "{" | "}") { '\n' } else { ' ' });
        self.pieces.push(Piece { kind, text, span, token });
    }

    fn mark(&mut self, mark: &str, token: TokenSpan) {
        self.push(Kind::Mark, mark, mark.to_owned(), token);
    }

    /// Adds tokens, one piece each, brackets too.
    pub(super) fn add(&mut self, tokens: TokenStream) {
        let mut tokens = tokens.into_iter().peekable();
        while let Some(token) = tokens.next() {
            match token {
                TokenTree::Ident(word) => {
                    let text = word.to_string();
                    self.push(Kind::Word, &text, text.clone(), word.span());
                }
                TokenTree::Literal(literal) => {
                    let shown = literal.to_string();
                    match syn::parse_str::<syn::LitStr>(&shown) {
                        Ok(text) => self.push(Kind::Text, &shown, text.value(), literal.span()),
                        Err(_) => self.push(Kind::Number, &shown, shown.clone(), literal.span()),
                    }
                }
                TokenTree::Punct(mark) => {
                    let minus = mark.as_char() == '-' && mark.spacing() == Spacing::Joint;
                    let arrow = tokens.next_if(
                        |next| matches!(next, TokenTree::Punct(p) if minus && p.as_char() == '>'),
                    );
                    let shown = if arrow.is_some() { "->" } else { &mark.to_string() };
                    self.mark(shown, mark.span());
                }
                TokenTree::Group(group) => self.group(&group),
            }
        }
    }

    fn group(&mut self, group: &Group) {
        let brackets = match group.delimiter() {
            Delimiter::Parenthesis => Some(("(", ")")),
            Delimiter::Brace => Some(("{", "}")),
            Delimiter::Bracket => Some(("[", "]")),
            // What a `macro_rules` variable leaves around what it stands for.
            Delimiter::None => None,
        };
        if let Some((open, _)) = brackets {
            self.mark(open, group.span_open());
        }
        self.add(group.stream());
        if let Some((_, close)) = brackets {
            self.mark(close, group.span_close());
        }
    }
}

type Tree = Spanned<Node>;

type Parsed<T> = Result<T, Box<Diagnostic>>;

/// A mapping's entries.
type Entries = Vec<(Tree, Tree)>;

/// Parses name, input and body; `starts` are the first pieces of the latter two.
pub(super) fn table(
    source: &Source,
    pieces: &[Piece],
    starts: [usize; 2],
) -> Result<Tree, Diagnostics> {
    let mut errors = Vec::new();
    let mut parser = Parser { pieces: &pieces[..starts[1]], at: starts[0] };
    let input = parser.scalar("a shape such as 3x224x224").and_then(|input| {
        parser.end("the shape")?;
        Ok(input)
    });
    let input = input.map_err(|error| errors.push(*error));
    let mut body = Parser { pieces, at: starts[1] };
    let mut top: Entries = Vec::new();
    let mut rows = Vec::new();
    while !body.is_at_end() {
        let begin = body.at;
        match body.statement() {
            Ok(Statement::Row(row)) => rows.push(row),
            Ok(Statement::Setting(key, value)) => top.push((key, value)),
            Err(error) => {
                errors.push(*error);
                body.skip_statement(begin);
            }
        }
    }
    let name = &pieces[0];
    if rows.is_empty() && errors.is_empty() {
        let help = "write at least one row, such as `conv1: conv(3x3, 16);`";
        errors.push(Diagnostic::new(name.span, "the table has no rows").help(help));
    }
    if !top.iter().any(|(key, _)| matches!(&key.value, Node::Scalar(key) if key == "name")) {
        top.push(word("name", Node::Scalar(name.text.clone()), name.span));
    }
    if let Ok(input) = input {
        top.push(word("input", input.value, input.span));
    }
    let first = pieces.get(starts[1]).map_or(name.span, |piece| piece.span);
    top.push(word("table", Node::Sequence(rows), first));
    Diagnostics::or(source, errors, Spanned::new(Node::Mapping(top), name.span))
}

/// An entry whose key nobody wrote.
fn word(key: &str, value: Node, span: Span) -> (Tree, Tree) {
    (Spanned::new(Node::Scalar(key.to_owned()), span), Spanned::new(value, span))
}

enum Statement {
    Row(Tree),
    Setting(Tree, Tree),
}

struct Parser<'a> {
    pieces: &'a [Piece],
    at: usize,
}

impl<'a> Parser<'a> {
    fn is_at_end(&self) -> bool {
        self.at >= self.pieces.len()
    }

    fn peek(&self) -> Option<&'a Piece> {
        self.pieces.get(self.at)
    }

    fn sees(&self, mark: &str) -> bool {
        self.peek().is_some_and(|piece| piece.kind == Kind::Mark && piece.text == mark)
    }

    fn eat(&mut self, mark: &str) -> bool {
        let sees = self.sees(mark);
        self.at += usize::from(sees);
        sees
    }

    /// From a piece to the last one that was taken.
    fn span_from(&self, begin: usize) -> Span {
        let last = self.at.max(begin + 1) - 1;
        Span::new(self.pieces[begin].span.range().start..self.pieces[last].span.range().end)
    }

    /// The complaint that something else was expected here.
    fn expected(&self, what: &str) -> Box<Diagnostic> {
        Box::new(match self.peek() {
            Some(piece) => {
                let found = abbreviate(&piece.text);
                Diagnostic::new(piece.span, format!("expected {what}, found `{found}`"))
            }
            None => {
                let last = self.pieces.last().map_or(Span::default(), |piece| piece.span);
                Diagnostic::new(last, format!("expected {what} after this"))
            }
        })
    }

    fn end(&self, of: &str) -> Parsed<()> {
        if self.is_at_end() { Ok(()) } else { Err(self.expected(&format!("the end of {of}"))) }
    }

    /// Goes on behind the next `;` that no bracket encloses.
    fn skip_statement(&mut self, begin: usize) {
        self.at = begin;
        let mut depth = 0_usize;
        while let Some(piece) = self.peek() {
            self.at += 1;
            match (piece.kind, piece.text.as_str()) {
                (Kind::Mark, "(" | "[" | "{") => depth += 1,
                (Kind::Mark, ")" | "]" | "}") => depth = depth.saturating_sub(1),
                (Kind::Mark, ";") if depth == 0 => break,
                _ => {}
            }
        }
    }

    /// `name: row;` or `setting = value;`
    fn statement(&mut self) -> Parsed<Statement> {
        let begin = self.at;
        let wanted =
            "a row such as `conv1: conv(3x3, 16);` or a setting such as `name = \"tiny\";`";
        let first = self.name(wanted)?;
        let statement = if self.eat("=") {
            if let Node::Scalar(key) = &first.value
                && matches!(key.as_str(), "input" | "table")
            {
                let message = format!("`{key}` is no setting");
                let help = "the shape of the picture stands behind the type's name, and the rows \
                            between the braces";
                return Err(Box::new(Diagnostic::new(first.span, message).help(help)));
            }
            Statement::Setting(first, self.value()?)
        } else {
            Statement::Row(self.row(first, begin)?)
        };
        if self.eat(";") || self.is_at_end() {
            return Ok(statement);
        }
        Err(self.expected(match &statement {
            Statement::Row(_) => "`;`, `* repeat` or `-> output`",
            Statement::Setting(..) => "`;`",
        }))
    }

    /// `name: input -> op(arguments) * repeat -> output`, where only the operation must be there;
    /// a row without a name has the operation's.
    fn row(&mut self, first: Tree, begin: usize) -> Parsed<Tree> {
        let mut entries = Entries::new();
        let op = if self.eat(":") {
            let starts_with_number = self.peek().is_some_and(|piece| piece.kind == Kind::Number);
            if starts_with_number {
                let input = self.scalar("a size such as 56x56")?;
                entries.push(word("input", input.value, input.span));
                if !self.eat("->") {
                    return Err(self.expected("`->` between the row's input and its operation"));
                }
            }
            self.name("an operation such as `conv` or `basic`")?
        } else {
            first.clone()
        };
        if let Node::Scalar(op) = &op.value
            && self.eat("(")
        {
            self.arguments(op, &mut entries)?;
        }
        if self.eat("*") {
            let repeat = self.scalar("how many blocks")?;
            entries.push(word("repeat", repeat.value, repeat.span));
        }
        if self.eat("->") {
            let output = self.scalar("a size such as 56x56")?;
            entries.push(word("output", output.value, output.span));
        }
        entries.push(word("layer", first.value, first.span));
        entries.push(word("op", op.value, op.span));
        Ok(Spanned::new(Node::Mapping(entries), self.span_from(begin)))
    }

    /// `3x3, 64, stride = 2)`
    fn arguments(&mut self, op: &str, entries: &mut Entries) -> Parsed<()> {
        // The reader says if there is no such operation.
        let names = Operation::parse(op).ok().map(Operation::positional);
        let mut unnamed = names.unwrap_or_default().iter();
        while !self.eat(")") {
            let named = self.pieces.get(self.at + 1).is_some_and(|next| next.text == "=")
                && self.peek().is_some_and(|piece| piece.kind == Kind::Word);
            if named {
                let key = self.name("a field")?;
                self.eat("=");
                entries.push((key, self.value()?));
            } else {
                let value = self.value()?;
                match (unnamed.next(), names) {
                    (Some(key), _) => entries.push(word(key, value.value, value.span)),
                    (None, Some(names)) => return Err(too_many(op, names, value.span)),
                    // The operation is what is wrong here, and the reader says so.
                    (None, None) => {}
                }
            }
            if !self.eat(",") && !self.sees(")") {
                return Err(self.expected("`,` or `)`"));
            }
        }
        Ok(())
    }

    /// An identifier or a string.
    fn name(&mut self, what: &str) -> Parsed<Tree> {
        match self.peek() {
            Some(Piece { kind: Kind::Word | Kind::Text, text, span, .. }) => {
                self.at += 1;
                Ok(Spanned::new(Node::Scalar(text.clone()), *span))
            }
            _ => Err(self.expected(what)),
        }
    }

    /// A number, a word or a string.
    fn scalar(&mut self, what: &str) -> Parsed<Tree> {
        let begin = self.at;
        let minus = self.eat("-");
        match self.peek() {
            Some(Piece { kind: Kind::Number, text, .. }) => {
                self.at += 1;
                let text = if minus { format!("-{text}") } else { text.clone() };
                Ok(Spanned::new(Node::Scalar(text), self.span_from(begin)))
            }
            _ if minus => Err(self.expected("a number")),
            _ => self.name(what),
        }
    }

    /// A scalar, `[value, ...]` or `{ field = value, ... }`.
    fn value(&mut self) -> Parsed<Tree> {
        let begin = self.at;
        if self.eat("[") {
            let mut items = Vec::new();
            while !self.eat("]") {
                items.push(self.scalar("a value")?);
                if !self.eat(",") && !self.sees("]") {
                    return Err(self.expected("`,` or `]`"));
                }
            }
            return Ok(Spanned::new(Node::Sequence(items), self.span_from(begin)));
        }
        if self.eat("{") {
            let mut entries = Entries::new();
            while !self.eat("}") {
                let key = self.name("a field")?;
                if !self.eat("=") {
                    return Err(self.expected("`=`"));
                }
                entries.push((key, self.value()?));
                if !self.eat(",") && !self.sees("}") {
                    return Err(self.expected("`,` or `}`"));
                }
            }
            return Ok(Spanned::new(Node::Mapping(entries), self.span_from(begin)));
        }
        self.scalar("a value")
    }
}

/// The complaint about one value more than can do without a name.
fn too_many(op: &str, names: &[&str], span: Span) -> Box<Diagnostic> {
    let (more, help) = match names {
        [] => ("", "write `field = value`".to_owned()),
        _ => {
            let names = names.join(", ");
            (" further", format!("without names come {names}; all else is `field = value`"))
        }
    };
    let message = format!("`{op}` takes no{more} value without a name");
    Box::new(Diagnostic::new(span, message).help(help))
}
