import { HttpErrorResponse } from '@angular/common/http';
import { ChangeDetectionStrategy, Component, computed, inject, OnInit, signal } from '@angular/core';
import { Observable } from 'rxjs';

import { Todo, TodoApi } from './todo-api';

@Component({
  selector: 'app-root',
  templateUrl: './app.html',
  styleUrl: './app.css',
  changeDetection: ChangeDetectionStrategy.OnPush,
})
export class App implements OnInit {
  private readonly api = inject(TodoApi);

  /** undefined until the first answer. */
  protected readonly todos = signal<Todo[] | undefined>(undefined);
  protected readonly problem = signal('');
  protected readonly summary = computed(() => {
    const todos = this.todos() ?? [];
    const open = todos.filter((todo) => !todo.done).length;
    return `${open} of ${todos.length} to do`;
  });

  ngOnInit(): void {
    this.load();
  }

  protected load(): void {
    this.call(this.api.list(), (todos) => this.todos.set(todos));
  }

  protected add(input: HTMLInputElement): void {
    const title = input.value.trim();
    if (!title) return;
    input.value = ''; // at once: the next item may be typed while this one is on its way
    this.call(
      this.api.add(title),
      (todo) => this.todos.update((todos = []) => [...todos, todo]),
      () => (input.value ||= title),
    );
  }

  protected setDone(todo: Todo, box: HTMLInputElement): void {
    this.call(
      this.api.setDone(todo, box.checked),
      (saved) =>
        this.todos.update((todos = []) => todos.map((t) => (t._id === saved._id ? saved : t))),
      () => (box.checked = todo.done),
    );
  }

  protected remove(todo: Todo): void {
    this.call(this.api.remove(todo), () =>
      this.todos.update((todos = []) => todos.filter((t) => t._id !== todo._id)),
    );
  }

  private call<T>(request: Observable<T>, done: (answer: T) => void, undo?: () => void): void {
    request.subscribe({
      next: (answer) => {
        this.problem.set('');
        done(answer);
      },
      error: (err: HttpErrorResponse) => {
        this.problem.set(explain(err));
        undo?.();
      },
    });
  }
}

/** What went wrong, and where to look. */
function explain(err: HttpErrorResponse): string {
  switch (err.status) {
    case 0:
      return 'The web server does not answer. Is the angular service running?';
    case 502:
    case 504:
      return `The API does not answer (${err.status}). Is the express service running?`;
    default:
      return `The API answered ${err.status}: ${err.error?.error ?? err.statusText}`;
  }
}
