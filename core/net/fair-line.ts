import { priorities, weightOf } from '../base/priority.ts';
import type { Priority } from '../base/priority.ts';
import { FairShares } from './fair-shares.ts';

/** On whose account bytes pass. */
export interface Account {
  readonly priority: Priority;
  /** The task, or whatever else is to be treated like its equals within the class. */
  readonly flow: unknown;
}

interface Waiter<Item> extends Account {
  readonly item: Item;
  readonly bytes: number;
}

/** A line of those who wait for the same thing: classes get it by weight, in a class each flow as much as another. */
export class FairLine<Item> {
  readonly #classes = new FairShares<Priority>();
  readonly #flows = new Map(priorities.map((name) => [name, new FairShares<unknown>()]));
  /** By class and flow, each in the order of coming. */
  readonly #waiting = new Map<Priority, Map<unknown, Waiter<Item>[]>>();

  push(item: Item, account: Account, bytes: number): void {
    const { priority, flow } = account;
    const flows = this.#waiting.get(priority) ?? new Map<unknown, Waiter<Item>[]>();
    this.#waiting.set(priority, flows);
    const waiters = flows.get(flow) ?? [];
    flows.set(flow, waiters);
    waiters.push({ item, priority, flow, bytes });
  }

  /** Who is next now; he stays in line. */
  get next(): { readonly item: Item; readonly bytes: number } | undefined {
    return this.#first(() => true);
  }

  /** Takes out who is next of those of whom one may pass, and the bytes he asked for. */
  shift(
    mayPass: (priority: Priority, flow: unknown) => boolean = () => true,
  ): { readonly item: Item; readonly bytes: number } | undefined {
    const first = this.#first(mayPass);
    if (first === undefined) return undefined;
    this.#out(first);
    this.pay(first, first.bytes);
    return first;
  }

  #first(mayPass: (priority: Priority, flow: unknown) => boolean): Waiter<Item> | undefined {
    const flowsOf = (priority: Priority): unknown[] =>
      [...(this.#waiting.get(priority)?.keys() ?? [])].filter((flow) => mayPass(priority, flow));
    const due = [...this.#waiting.keys()].filter((priority) => flowsOf(priority).length > 0);
    const priority = this.#classes.next(due);
    if (priority === undefined) return undefined;
    const flow = this.#flows.get(priority)?.next(flowsOf(priority));
    return this.#waiting.get(priority)?.get(flow)?.[0];
  }

  /** Bytes that pass without having waited. */
  pay({ priority, flow }: Account, bytes: number): void {
    this.#classes.pay(priority, bytes, weightOf(priority));
    this.#flows.get(priority)?.pay(flow, bytes);
  }

  /** False when it waits no longer. */
  remove(item: Item, { priority, flow }: Account): boolean {
    const waiter = this.#waiting
      .get(priority)
      ?.get(flow)
      ?.find((one) => one.item === item);
    if (waiter !== undefined) this.#out(waiter);
    return waiter !== undefined;
  }

  get isEmpty(): boolean {
    return this.#waiting.size === 0;
  }

  #out(waiter: Waiter<Item>): void {
    const { priority, flow } = waiter;
    const flows = this.#waiting.get(priority);
    const waiters = flows?.get(flow);
    if (flows === undefined || waiters === undefined) return;
    waiters.splice(waiters.indexOf(waiter), 1);
    if (waiters.length === 0) flows.delete(flow);
    if (flows.size === 0) this.#waiting.delete(priority);
  }
}
