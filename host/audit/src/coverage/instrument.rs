//! Changes a component so that each of its blocks reports itself the first time that a call gets
//! there: see [`host_sandbox::Engine::watching`].
//!
//! A block is code that runs from its first instruction to its last once it was entered, so it
//! begins where a function does and wherever control can arrive. Nothing that is there is moved
//! or renumbered: a table and a global per block are added behind those of each module.

use std::convert::Infallible;

use wasm_encoder::{
    BlockType, CodeSection, Component, ConstExpr, Function, GlobalSection, GlobalType, HeapType,
    Instruction, Module, RefType, SectionId, TableSection, TableType, ValType,
    reencode::{Error, Reencode, ReencodeComponent, component_utils, utils},
};
use wasmparser::{
    FunctionBody, GlobalSectionReader, KnownCustom, Name, Operator, Parser, Payload,
    TableSectionReader, TypeRef,
};

type Result<T> = std::result::Result<T, Error<Infallible>>;

/// A function and its blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Blocks {
    /// As the file calls it, if it does.
    pub name: Option<String>,
    /// Number of its module, and its own in there.
    pub place: (usize, u32),
    /// Of its first block, in the numbering of all.
    pub first: usize,
    /// Where in the file each begins.
    pub offsets: Vec<usize>,
}

/// A component that reports, and what its reports mean.
pub(super) struct Instrumented {
    pub bytes: Vec<u8>,
    pub functions: Vec<Blocks>,
    /// The maximum of its tables that report.
    pub mark: u32,
}

impl Instrumented {
    pub(super) fn blocks(&self) -> usize {
        self.functions.last().map_or(0, |last| last.first + last.offsets.len())
    }
}

/// What is known of a core module before it is written again.
#[derive(Default)]
struct Plan {
    tables: u32,
    globals: u32,
    first_block: usize,
    blocks: usize,
    imported_functions: u32,
    /// In the order of their bodies.
    functions: Vec<Blocks>,
}

/// `mark` is any number that no table of the component has as its maximum; the next such one is
/// taken.
///
/// # Errors
/// A component that isn't valid.
pub(super) fn instrument(bytes: &[u8], mark: u32) -> Result<Instrumented> {
    let (plans, maxima) = plans(bytes)?;
    let mark = (mark..u32::MAX).find(|mark| !maxima.contains(&u64::from(*mark)));
    let mark = mark.unwrap_or(1 << 30);
    let mut writer = Writer { plans, module: None, function: 0, mark };
    let mut component = Component::new();
    writer.parse_component(&mut component, Parser::new(0), bytes)?;
    let functions = writer.plans.into_iter().flat_map(|plan| plan.functions).collect();
    Ok(Instrumented { bytes: component.finish(), functions, mark })
}

/// Every core module in the order of the file, and the maxima of all tables.
fn plans(bytes: &[u8]) -> Result<(Vec<Plan>, Vec<u64>)> {
    let (mut plans, mut maxima): (Vec<Plan>, Vec<u64>) = Default::default();
    let mut blocks = 0;
    for payload in Parser::new(0).parse_all(bytes) {
        if let Payload::ModuleSection { .. } = payload.as_ref().map_err(Clone::clone)? {
            plans.push(Plan { first_block: blocks, ..Plan::default() });
        }
        let module = plans.len().saturating_sub(1);
        let Some(plan) = plans.last_mut() else {
            payload?;
            continue;
        };
        match payload? {
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    match import?.ty {
                        TypeRef::Table(table) => {
                            plan.tables += 1;
                            maxima.extend(table.maximum);
                        }
                        TypeRef::Global(_) => plan.globals += 1,
                        TypeRef::Func(_) => plan.imported_functions += 1,
                        _ => {}
                    }
                }
            }
            Payload::TableSection(tables) => {
                for table in tables {
                    plan.tables += 1;
                    maxima.extend(table?.ty.maximum);
                }
            }
            Payload::GlobalSection(globals) => plan.globals += globals.count(),
            Payload::CodeSectionEntry(body) => {
                let offsets = offsets(&body)?;
                plan.blocks += offsets.len();
                let first = blocks;
                blocks += offsets.len();
                let place = (module, plan.imported_functions + plan.functions.len() as u32);
                plan.functions.push(Blocks { name: None, place, first, offsets });
            }
            Payload::CustomSection(section) => {
                if let KnownCustom::Name(names) = section.as_known() {
                    // They are for people; a damaged list of them is none.
                    names.into_iter().flatten().for_each(|names| plan.name(names));
                }
            }
            _ => {}
        }
    }
    Ok((plans, maxima))
}

impl Plan {
    fn name(&mut self, names: Name<'_>) {
        let Name::Function(names) = names else { return };
        for named in names.into_iter().flatten() {
            let defined = named.index.checked_sub(self.imported_functions);
            let function = defined.and_then(|index| self.functions.get_mut(index as usize));
            if let Some(function) = function {
                function.name = Some(named.name.to_owned());
            }
        }
    }
}

/// Walks through a body and says before which instructions a block begins.
#[derive(Default)]
struct Walk {
    begun: bool,
    arrives: bool,
    /// Depth inside code that no control gets to.
    dead: Option<usize>,
}

impl Walk {
    /// Whether a block begins with this instruction.
    fn begins(&mut self, next: &Operator<'_>) -> bool {
        let arrives = !std::mem::replace(&mut self.begun, true) || self.arrives;
        // An empty block, and one that the compiler knows is never entered, say nothing.
        let empty = matches!(next, Operator::End | Operator::Else | Operator::Unreachable);
        let begins = arrives && !empty && self.dead.is_none();
        self.arrives = arrives && matches!(next, Operator::End | Operator::Else);
        self.step(next);
        begins
    }

    fn step(&mut self, next: &Operator<'_>) {
        match (next, &mut self.dead) {
            (Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. }, Some(depth)) => {
                *depth += 1;
            }
            (Operator::End, Some(depth)) if *depth > 0 => *depth -= 1,
            (Operator::End, dead) => (*dead, self.arrives) = (None, true),
            (Operator::Else, Some(depth)) if *depth > 0 => {}
            (Operator::Else, dead) => (*dead, self.arrives) = (None, true),
            (
                Operator::Br { .. }
                | Operator::BrTable { .. }
                | Operator::Return
                | Operator::Unreachable,
                dead,
            ) => {
                dead.get_or_insert(0);
                self.arrives = false;
            }
            (Operator::Loop { .. } | Operator::If { .. } | Operator::BrIf { .. }, None) => {
                self.arrives = true;
            }
            _ => {}
        }
    }
}

fn offsets(body: &FunctionBody<'_>) -> Result<Vec<usize>> {
    let (mut walk, mut offsets) = (Walk::default(), Vec::new());
    let mut reader = body.get_operators_reader()?;
    while !reader.eof() {
        let offset = reader.original_position();
        if walk.begins(&reader.read()?) {
            offsets.push(offset);
        }
    }
    Ok(offsets)
}

struct Writer {
    plans: Vec<Plan>,
    /// The module at work.
    module: Option<usize>,
    /// Its next body.
    function: usize,
    mark: u32,
}

impl Writer {
    fn plan(&self) -> Option<&Plan> {
        self.plans.get(self.module?)
    }

    fn add_table(&self, tables: &mut TableSection) {
        tables.table(TableType {
            element_type: RefType::FUNCREF,
            minimum: 0,
            maximum: Some(u64::from(self.mark)),
            table64: false,
            shared: false,
        });
    }

    fn add_globals(&self, globals: &mut GlobalSection) {
        let ty = GlobalType { val_type: ValType::I32, mutable: true, shared: false };
        for _ in 0..self.plan().map_or(0, |plan| plan.blocks) {
            globals.global(ty, &ConstExpr::i32_const(0));
        }
    }

    /// Tells the host, the first time in a call.
    fn report(&self, function: &mut Function, block: usize) {
        let Some(plan) = self.plan() else { return };
        let known = plan.globals + (block - plan.first_block) as u32;
        let told = [
            Instruction::GlobalGet(known),
            Instruction::I32Eqz,
            Instruction::If(BlockType::Empty),
            Instruction::I32Const(1),
            Instruction::GlobalSet(known),
            Instruction::RefNull(HeapType::FUNC),
            Instruction::I32Const(block as i32 + 1),
            Instruction::TableGrow(plan.tables),
            Instruction::Drop,
            Instruction::End,
        ];
        for instruction in &told {
            function.instruction(instruction);
        }
    }
}

impl Reencode for Writer {
    type Error = Infallible;

    fn intersperse_section_hook(
        &mut self,
        module: &mut Module,
        after: Option<SectionId>,
        before: Option<SectionId>,
    ) -> Result<()> {
        // Sections that aren't there yet, where they belong.
        let place = |id: Option<SectionId>| id.map_or(0, order);
        let next = before.map_or(u8::MAX, order);
        let missing = |id: SectionId| place(after) < order(id) && order(id) < next;
        if missing(SectionId::Table) {
            let mut tables = TableSection::new();
            self.add_table(&mut tables);
            module.section(&tables);
        }
        if missing(SectionId::Global) {
            let mut globals = GlobalSection::new();
            self.add_globals(&mut globals);
            module.section(&globals);
        }
        Ok(())
    }

    fn parse_table_section(
        &mut self,
        tables: &mut TableSection,
        section: TableSectionReader<'_>,
    ) -> Result<()> {
        utils::parse_table_section(self, tables, section)?;
        self.add_table(tables);
        Ok(())
    }

    fn parse_global_section(
        &mut self,
        globals: &mut GlobalSection,
        section: GlobalSectionReader<'_>,
    ) -> Result<()> {
        utils::parse_global_section(self, globals, section)?;
        self.add_globals(globals);
        Ok(())
    }

    fn parse_function_body(
        &mut self,
        code: &mut CodeSection,
        body: FunctionBody<'_>,
    ) -> Result<()> {
        let mut function = self.new_function_with_parsed_locals(&body)?;
        let first = self.plan().and_then(|plan| plan.functions.get(self.function));
        let mut block = first.map_or(0, |function| function.first);
        self.function += 1;
        let mut walk = Walk::default();
        let mut reader = body.get_operators_reader()?;
        while !reader.eof() {
            let operator = reader.read()?;
            if walk.begins(&operator) {
                self.report(&mut function, block);
                block += 1;
            }
            let instruction = self.instruction(operator)?;
            function.instruction(&instruction);
        }
        code.function(&function);
        Ok(())
    }
}

impl ReencodeComponent for Writer {
    fn parse_component_submodule(
        &mut self,
        component: &mut Component,
        parser: Parser,
        module: &[u8],
    ) -> Result<()> {
        self.module = Some(self.module.map_or(0, |module| module + 1));
        self.function = 0;
        component_utils::parse_component_submodule(self, component, parser, module)
    }
}

/// Where a section stands in a module.
fn order(id: SectionId) -> u8 {
    let order = [
        SectionId::Type,
        SectionId::Import,
        SectionId::Function,
        SectionId::Table,
        SectionId::Memory,
        SectionId::Tag,
        SectionId::Global,
        SectionId::Export,
        SectionId::Start,
        SectionId::Element,
        SectionId::DataCount,
        SectionId::Code,
        SectionId::Data,
    ];
    order.iter().position(|one| *one == id).map_or(0, |at| at as u8 + 1)
}
